// Lowering of convolutions and dense layers.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/numerals.h"
#include "gpu/lowering.h"
#include "graph/window.h"
#include "kernels/gemm/gemm.h"
#include "runtime/product.h"
#include "runtime/views.h"

namespace pare::gpu {
namespace {

// A multiple of 16 bytes.
int64_t padded_row(int64_t elements, DType type) {
  const int64_t step = 16 * 8 / dtype_bits(type);
  return (elements + step - 1) / step * step;
}

// Weights [out_c][stride] with element (n, k) = source[index(n, k)], zero where index is negative.
template <typename F>
Tensor arranged(const Tensor& source, int64_t rows, int64_t k, F&& index) {
  const int64_t bytes = dtype_bits(source.type()) / 8;
  const int64_t stride = padded_row(k, source.type());
  Tensor out(source.type(), {rows, stride});
  std::byte* dst = out.mutable_data();
  const std::byte* src = source.data();
  for (int64_t n = 0; n < rows; ++n) {
    for (int64_t i = 0; i < k; ++i) {
      const int64_t from = index(n, i);
      if (from < 0) continue;
      std::memcpy(dst + (n * stride + i) * bytes, src + from * bytes, static_cast<size_t>(bytes));
    }
  }
  return out;
}

// The layer's weights as the graph has them: int8 codes, or floats in the storage type.
Result<Tensor> layer_weights(Lowering& lowering, const ProductGroup& group, float alpha) {
  if (group.source_quantisation) return *lowering.constant(group.weights);
  PARE_ASSIGN_OR_RETURN(Tensor tensor, lowering.float_constant(group.weights));
  if (tensor.empty()) return internal_error("the weights '" + group.weights + "' are no constant");
  if (alpha != 1.0F) {
    for (float& v : tensor.mutable_values<float>()) v *= alpha;
  }
  return convert_floating(tensor, lowering.storage());
}

struct Layer {
  ProductOp op;
  StepInfo info;
  std::vector<View> reads;
};

// The epilogue's constants and numbers; `order` is the memory order of the result.
Result<DType> add_epilogue(Lowering& lowering, const ProductGroup& group,
                           const ProductWeights& weights, const Shape& shape,
                           const std::vector<int>& order, Layer& layer) {
  PARE_ASSIGN_OR_RETURN(const EpiloguePlan plan,
                        EpiloguePlan::create(lowering, group, weights, shape, order));
  const Epilogue& e = plan.numbers();
  ProductOp& op = layer.op;
  op.bias = lowering.at(plan.bias());
  op.int_bias = lowering.at(plan.int_bias());
  op.multiplier = lowering.at(plan.multiplier());
  op.residual = lowering.at(plan.residual());
  op.activation = e.activation;
  op.alpha = e.alpha;
  op.beta = e.beta;
  op.rounding = {e.out_scale, e.out_zero_point, e.out_lo, e.out_hi};
  layer.reads.insert(layer.reads.end(),
                     {plan.bias(), plan.int_bias(), plan.multiplier(), plan.residual()});
  return plan.dst_type();
}

void finish_info(Lowering& lowering, const ProductGroup& group, const Node& node,
                 const Tensor& weights, int64_t macs, std::string detail, StepInfo& info) {
  info.name = node.name;
  info.operation = group_operation(lowering, group) + " " + std::move(detail);
  info.macs = macs;
  info.weight_bytes = weights.byte_count();
  info.weight_density = share_not_zero(weights);
}

// How many neighbouring pixels of the graph's input make sixteen bytes; 1 where the layer cannot
// read them so: a window that starts outside the image would miss those inside.
int wide_pixels(const Lowering& lowering, const ProductGroup& group, const Node& node,
                const Window& w, DType type) {
  const bool first = group.source == lowering.graph().inputs[0].name;
  if (!lowering.target().wide_pixels || !first || lowering.info(group.source).shape[1] != 3 ||
      w.has_padding() || w.dilation_w != 1 || node.int_attribute("group", 1) != 1) {
    return 1;
  }
  return 16 / (4 * dtype_bits(type) / 8);
}

// What a convolution reads: channels last, in the type it multiplies.
Result<View> conv_source(Lowering& lowering, const ProductGroup& group, const Node& node,
                         DType type, int neighbours) {
  if (const auto pixels = lowering.pixels(group.source, type, neighbours)) return *pixels;
  PARE_ASSIGN_OR_RETURN(View src, lowering.value(group.source));
  PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, type, node.name));
  return lowering.in_order(src, channels_last_order(4), node.name);
}

// Sums of each output channel's int8 weights, for the zero point of the source.
std::vector<int32_t> channel_sums(const Tensor& weights, int64_t channels, bool channel_last) {
  const auto values = weights.values<int8_t>();
  const int64_t each = channels == 0 ? 0 : weights.size() / channels;
  std::vector<int32_t> sums(static_cast<size_t>(channels), 0);
  for (int64_t n = 0; n < channels; ++n) {
    for (int64_t i = 0; i < each; ++i) {
      const int64_t at = channel_last ? i * channels + n : n * each + i;
      sums[static_cast<size_t>(n)] += values[static_cast<size_t>(at)];
    }
  }
  return sums;
}

Status lower_conv(Lowering& lowering, const ProductGroup& group, const Node& node) {
  const std::string where = fmt::format("node '{}' ({})", node.name, node.op);
  if (group.general) return unsupported(where + ": the weights and bias must be constants");
  const Shape in = lowering.info(group.source).shape;
  PARE_ASSIGN_OR_RETURN(const Tensor weights, layer_weights(lowering, group, 1.0F));
  if (weights.rank() != 4) return unsupported(where + ": only two-dimensional kernels");
  PARE_ASSIGN_OR_RETURN(const Window window,
                        resolve_window(node, in, weights.dim(2), weights.dim(3)));
  const bool integer = group.source_quantisation.has_value();
  const DType type = integer ? DType::kUInt8 : lowering.storage();
  const int64_t wide = wide_pixels(lowering, group, node, window, type);
  PARE_ASSIGN_OR_RETURN(const View src,
                        conv_source(lowering, group, node, type, static_cast<int>(wide)));
  const int64_t groups = node.int_attribute("group", 1);
  const int64_t channels = weights.dim(0);
  Layer layer;
  ProductOp& op = layer.op;
  set_window(op, window);
  op.in_h = static_cast<int32_t>(in[2]);
  op.in_w = static_cast<int32_t>(in[3]);
  op.pixel_stride = static_cast<int32_t>(src.strides[3]);
  // Channels that pad a pixel have weights of zero.
  const int64_t in_c = groups == 1 ? op.pixel_stride : weights.dim(1);
  op.in_c = static_cast<int32_t>(in_c);
  op.image_stride = src.strides[0];
  if (in[0] == 1) op.image_stride = in[2] * in[3] * src.strides[3];
  op.groups = static_cast<int32_t>(groups);
  op.m = static_cast<int32_t>(in[0] * window.out_h * window.out_w);
  op.n = static_cast<int32_t>(channels / groups);
  op.kernel_w = static_cast<int32_t>((window.kernel_w + wide - 1) / wide);
  if (wide > 1) op.dilation_w = static_cast<int32_t>(wide);
  op.k = static_cast<int32_t>(window.kernel_h * op.kernel_w * in_c);
  op.weights_stride = static_cast<int32_t>(padded_row(op.k, weights.type()));
  op.dst_stride = op.residual_stride = channels;
  if (integer) op.pad_value = group.source_quantisation->zero_point;
  PARE_ASSIGN_OR_RETURN(
      op.weights,
      lowering.block().get(
          fmt::format("{}|{}|conv {} {}", group.weights, dtype_name(weights.type()), in_c, wide),
          [&]() -> Result<Tensor> {
            const int64_t kw = weights.dim(3);
            const int64_t area = weights.dim(2) * kw;
            const int64_t c_count = weights.dim(1);
            const int64_t slot = in_c / wide;
            return arranged(weights, channels, op.k, [&](int64_t n, int64_t k) -> int64_t {
              const int64_t y = k / in_c / op.kernel_w;
              const int64_t x = k / in_c % op.kernel_w * wide + k % in_c / slot;
              const int64_t c = k % slot;
              if (c >= c_count || x >= kw) return -1;
              return (n * c_count + c) * area + y * kw + x;
            });
          }));
  const ProductWeights constants{
      .layer = node.name, .channels = channels, .sums = [&]() -> Result<std::vector<int32_t>> {
        return channel_sums(weights, channels, false);
      }};
  const Shape shape = {in[0], channels, window.out_h, window.out_w};
  PARE_ASSIGN_OR_RETURN(const DType dst_type, add_epilogue(lowering, group, constants, shape,
                                                           channels_last_order(4), layer));
  const View dst = lowering.allocate(dst_type, shape, channels_last_order(4));
  op.src = lowering.at(src);
  op.dst = lowering.at(dst);
  layer.reads.push_back(src);
  finish_info(lowering, group, node, weights,
              saturating_product({window.out_h, window.out_w, weights.size()}),
              fmt::format("{}x{}", window.kernel_h, window.kernel_w), layer.info);
  lowering.push(op, std::move(layer.info), layer.reads, dst);
  lowering.bind(group.output, dst);
  return ok_status();
}

// Rows of k elements; a copy where the view's strides do not allow it.
Result<View> rows_of(Lowering& lowering, View view, int64_t k, const std::string& why) {
  for (int tries = 0; tries < 2; ++tries) {
    auto rows = reshaped_view(view, {k == 0 ? 0 : view.size() / k, k});
    if (rows && (k <= 1 || rows->strides[1] == 1)) {
      if (rows->shape[0] == 1) rows->strides[0] = k;
      if (rows->strides[0] >= k) return *rows;
    }
    PARE_ASSIGN_OR_RETURN(view, lowering.dense(view, why));
  }
  return internal_error(why + ": rows of a dense view");
}

// For a flattened image: where element k of a row as it lies in memory stands in the flat one.
std::vector<int64_t> column_order(const View& image, int64_t k) {
  std::vector<int64_t> order(static_cast<size_t>(k));
  const int64_t c_count = image.shape[1];
  const int64_t area = image.shape[2] * image.shape[3];
  for (int64_t i = 0; i < k; ++i) {
    order[static_cast<size_t>(i)] = i % c_count * area + i / c_count;
  }
  return order;
}

Status lower_dense(Lowering& lowering, const ProductGroup& group, const Node& node) {
  const bool gemm = node.op == "Gemm";
  const bool transposed = gemm && node.int_attribute("transB", 0) != 0;
  const float alpha = gemm ? node.float_attribute("alpha", 1.0F) : 1.0F;
  const bool integer = group.source_quantisation.has_value();
  PARE_ASSIGN_OR_RETURN(const Tensor weights, layer_weights(lowering, group, alpha));
  const int64_t n = weights.dim(transposed ? 0 : 1);
  const int64_t k = weights.dim(transposed ? 1 : 0);
  const DType type = integer ? DType::kUInt8 : lowering.storage();
  std::vector<int64_t> columns;
  View src;
  if (const View* image = lowering.flattened(group.source);
      image != nullptr && image->type == type) {
    columns = column_order(*image, k);
    src = permuted(*image, {0, 2, 3, 1});
  } else {
    PARE_ASSIGN_OR_RETURN(src, lowering.value(group.source));
  }
  if (gemm && node.int_attribute("transA", 0) != 0) src = permuted(src, {1, 0});
  PARE_ASSIGN_OR_RETURN(src, lowering.converted(src, type, node.name));
  PARE_ASSIGN_OR_RETURN(src, rows_of(lowering, src, k, node.name));
  Layer layer;
  ProductOp& op = layer.op;
  op.m = static_cast<int32_t>(src.shape[0]);
  op.n = static_cast<int32_t>(n);
  op.k = op.in_c = op.pixel_stride = static_cast<int32_t>(k);
  op.image_stride = src.strides[0];
  op.weights_stride = static_cast<int32_t>(padded_row(k, weights.type()));
  op.dst_stride = op.residual_stride = n;
  PARE_ASSIGN_OR_RETURN(
      op.weights, lowering.block().get(
                      fmt::format("{}|{}|dense {}{} {}", group.weights, dtype_name(weights.type()),
                                  transposed, columns.empty() ? "" : " channels last", alpha),
                      [&]() -> Result<Tensor> {
                        return arranged(weights, n, k, [&](int64_t row, int64_t i) {
                          const int64_t column =
                              columns.empty() ? i : columns[static_cast<size_t>(i)];
                          return transposed ? row * k + column : column * n + row;
                        });
                      }));
  const ProductWeights constants{
      .layer = node.name, .channels = n, .sums = [&]() -> Result<std::vector<int32_t>> {
        return channel_sums(weights, n, !transposed);
      }};
  const Shape& shape = lowering.info(group.output).shape;
  PARE_ASSIGN_OR_RETURN(const DType dst_type,
                        add_epilogue(lowering, group, constants, shape,
                                     plain_order(static_cast<int>(shape.size())), layer));
  const View dst = lowering.allocate(dst_type, shape);
  op.src = lowering.at(src);
  op.dst = lowering.at(dst);
  layer.reads.push_back(src);
  finish_info(lowering, group, node, weights,
              saturating_product({op.m, n, k}) / lowering.options().batch,
              fmt::format("{} -> {}", k, n), layer.info);
  lowering.push(op, std::move(layer.info), layer.reads, dst);
  lowering.bind(group.output, dst);
  return ok_status();
}

}  // namespace

Status lower_product(Lowering& lowering, const ProductGroup& group) {
  const Node& node = lowering.graph().nodes[static_cast<size_t>(group.anchor)];
  if (node.op.ends_with("Integer")) {
    return unsupported(
        fmt::format("node '{}' ({}): no GPU kernel for products that are quantised while running",
                    node.name, node.op));
  }
  if (node.op == "Conv") return lower_conv(lowering, group, node);
  if (group.general) {
    return unsupported(fmt::format(
        "node '{}' ({}): no GPU kernel for a product of two values that vary, but attention's",
        node.name, node.op));
  }
  return lower_dense(lowering, group, node);
}

}  // namespace pare::gpu
