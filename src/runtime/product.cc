#include "runtime/product.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/rounding.h"
#include "runtime/lower.h"
#include "runtime/operator_kinds.h"
#include "runtime/views.h"

namespace pare {
namespace {

const Node& anchor_of(const Lowering& lowering, const ProductGroup& group) {
  return lowering.graph().nodes[static_cast<size_t>(group.anchor)];
}

// One element for each channel, whether the graph has one for all or one for each.
std::vector<float> per_channel(const std::vector<float>& values, int64_t channels) {
  if (values.size() == 1) return std::vector<float>(static_cast<size_t>(channels), values[0]);
  return values;
}

Tensor float_tensor(const std::vector<float>& values) {
  return Tensor::from_values<float>({static_cast<int64_t>(values.size())}, values);
}

}  // namespace

Result<EpiloguePlan> EpiloguePlan::create(Lowering& lowering, const ProductGroup& group,
                                          const ProductWeights& weights, const Shape& output_shape,
                                          const std::vector<int>& residual_order) {
  EpiloguePlan plan;
  plan.channels_ = weights.channels;
  Epilogue& e = plan.epilogue_;
  e.activation = group.activation;
  e.alpha = group.alpha;
  e.beta = group.beta;
  plan.dst_type_ = result_type(lowering, group);
  if (group.output_quantisation) {
    const Quantisation& q = *group.output_quantisation;
    plan.dst_type_ = q.type;
    e.out_scale = q.scale;
    e.out_zero_point = q.zero_point;
    e.out_lo = dtype_min(q.type);
    e.out_hi = dtype_max(q.type);
    if (e.activation == Activation::kRelu) {
      e.activation = Activation::kNone;
      e.out_lo = std::max(e.out_lo, q.zero_point);
    }
  }
  if (!group.bias.empty()) {
    const std::string name = group.bias;
    PARE_ASSIGN_OR_RETURN(
        const Tensor bias,
        lowering.weights().get(
            fmt::format("{}|{}|bias", weights.layer, name), [&]() -> Result<Tensor> {
              PARE_ASSIGN_OR_RETURN(const Tensor tensor, lowering.float_constant(name));
              if (tensor.empty())
                return internal_error("the bias '" + name + "' is not a constant");
              std::vector<float> values = per_channel(to_float_vector(tensor), weights.channels);
              for (float& v : values) v *= group.bias_factor;
              return float_tensor(values);
            }));
    plan.bias_ = lowering.stored_view(bias);
  }
  if (group.source_quantisation) {
    PARE_RETURN_IF_ERROR(plan.add_integer_constants(lowering, group, weights));
  }
  if (!group.dynamic_scale.empty()) {
    PARE_RETURN_IF_ERROR(plan.add_dynamic_constants(lowering, group, weights));
  }
  if (!group.residual.empty()) {
    const std::string why = "residual of " + anchor_of(lowering, group).name;
    PARE_ASSIGN_OR_RETURN(View residual, lowering.value(group.residual));
    PARE_ASSIGN_OR_RETURN(residual,
                          lowering.converted(residual, lowering.residual_type(residual.type), why));
    residual.strides = broadcast_strides(residual, output_shape);
    residual.shape = output_shape;
    PARE_ASSIGN_OR_RETURN(plan.residual_, lowering.in_order(residual, residual_order, why));
  }
  return plan;
}

Status EpiloguePlan::add_integer_constants(Lowering& lowering, const ProductGroup& group,
                                           const ProductWeights& weights) {
  const Quantisation& source = *group.source_quantisation;
  fixed_zero_point_ = source.zero_point;
  const bool rounds_directly = group.output_quantisation && group.residual.empty() &&
                               group.bias.empty() && epilogue_.activation == Activation::kNone;
  const std::string key = fmt::format("{}|{}|{}|{}", weights.layer, source.scale, source.zero_point,
                                      rounds_directly ? group.output_quantisation->scale : 0.0F);
  PARE_ASSIGN_OR_RETURN(
      const Tensor multiplier, lowering.weights().get(key + "|multiplier", [&]() -> Result<Tensor> {
        PARE_ASSIGN_OR_RETURN(const Tensor scale, lowering.float_constant(group.weight_scale));
        if (scale.empty())
          return internal_error("the scale '" + group.weight_scale + "' is not constant");
        std::vector<float> m = per_channel(to_float_vector(scale), weights.channels);
        for (float& v : m) {
          v = rounds_directly
                  ? requantise_multiplier(source.scale, v, group.output_quantisation->scale)
                  : source.scale * v;
        }
        return float_tensor(m);
      }));
  if (rounds_directly) epilogue_.out_scale = 1.0F;
  multiplier_ = lowering.stored_view(multiplier);
  PARE_ASSIGN_OR_RETURN(
      const Tensor int_bias,
      lowering.weights().get(
          fmt::format("{}|{}|int_bias", key, group.int_bias), [&]() -> Result<Tensor> {
            std::vector<int32_t> bias(static_cast<size_t>(weights.channels), 0);
            if (!group.int_bias.empty()) {
              const auto values = lowering.constant(group.int_bias)->values<int32_t>();
              if (values.size() == 1) std::fill(bias.begin(), bias.end(), values[0]);
              if (values.size() == bias.size())
                std::copy(values.begin(), values.end(), bias.begin());
            }
            PARE_ASSIGN_OR_RETURN(const auto sums, weights.sums());
            for (size_t n = 0; n < bias.size(); ++n) bias[n] -= source.zero_point * sums[n];
            return Tensor::from_values<int32_t>({weights.channels}, bias);
          }));
  int_bias_ = lowering.stored_view(int_bias);
  return ok_status();
}

Status EpiloguePlan::add_dynamic_constants(Lowering& lowering, const ProductGroup& group,
                                           const ProductWeights& weights) {
  PARE_ASSIGN_OR_RETURN(source_scale_, lowering.value(group.dynamic_scale));
  PARE_ASSIGN_OR_RETURN(source_zero_point_, lowering.value(group.dynamic_zero_point));
  PARE_ASSIGN_OR_RETURN(
      const Tensor scales,
      lowering.weights().get(weights.layer + "|scales", [&]() -> Result<Tensor> {
        PARE_ASSIGN_OR_RETURN(const Tensor scale, lowering.float_constant(group.weight_scale));
        if (scale.empty())
          return internal_error("the scale '" + group.weight_scale + "' is not constant");
        return float_tensor(per_channel(to_float_vector(scale), weights.channels));
      }));
  PARE_ASSIGN_OR_RETURN(const Tensor sums,
                        lowering.weights().get(weights.layer + "|sums", [&]() -> Result<Tensor> {
                          PARE_ASSIGN_OR_RETURN(const auto values, weights.sums());
                          return Tensor::from_values<int32_t>({weights.channels}, values);
                        }));
  weight_scales_ = lowering.stored_view(scales);
  weight_sums_ = lowering.stored_view(sums);
  return ok_status();
}

void EpiloguePlan::add_reads(std::vector<int>& reads) const {
  for (const View* view : {&bias_, &int_bias_, &multiplier_, &residual_, &source_scale_,
                           &source_zero_point_, &weight_scales_, &weight_sums_}) {
    if (view->buffer >= 0) reads.push_back(view->buffer);
  }
}

int64_t EpiloguePlan::scratch_bytes() const {
  return source_scale_.buffer < 0 ? 0 : channels_ * 8;  // a multiplier and a bias each
}

Epilogue EpiloguePlan::resolve(const StepContext& context, std::byte* scratch,
                               int64_t residual_stride) const {
  Epilogue e = epilogue_;
  if (bias_.buffer >= 0) e.bias = context.data<float>(bias_);
  if (int_bias_.buffer >= 0) e.int_bias = context.data<int32_t>(int_bias_);
  if (multiplier_.buffer >= 0) e.multiplier = context.data<float>(multiplier_);
  if (residual_.buffer >= 0) {
    e.residual = context.data<float>(residual_);
    e.residual_stride = residual_stride;
  }
  if (source_scale_.buffer < 0) return e;
  auto* multiplier = reinterpret_cast<float*>(scratch);
  auto* int_bias = reinterpret_cast<int32_t*>(scratch + channels_ * 4);
  const float scale = *context.data<float>(source_scale_);
  const int32_t zero_point = source_zero_point(context);
  const float* scales = context.data<float>(weight_scales_);
  const int32_t* sums = context.data<int32_t>(weight_sums_);
  for (int64_t n = 0; n < channels_; ++n) {
    multiplier[n] = scale * scales[n];
    int_bias[n] = -zero_point * sums[n];
  }
  e.multiplier = multiplier;
  e.int_bias = int_bias;
  return e;
}

int32_t EpiloguePlan::source_zero_point(const StepContext& context) const {
  if (source_zero_point_.buffer < 0) return fixed_zero_point_;
  return *context.data<uint8_t>(source_zero_point_);
}

void describe_work(LayerPlan& layer, DType weights_type, int64_t weights) {
  layer.arithmetic = weights_type == DType::kInt8                        ? "int8"
                     : layer.kernel.find("bf16dot") != std::string::npos ? "bfloat16"
                                                                         : "float32";
  layer.skips_zero_weights = layer.kernel.find("_sparse_") != std::string::npos;
  layer.least_weight_bytes = layer.weight_bytes;
  if (!layer.skips_zero_weights) return;
  const double left = layer.weight_density * static_cast<double>(weights);
  layer.least_weight_bytes =
      std::min<int64_t>(layer.weight_bytes, std::llround(left) * dtype_bits(weights_type) / 8);
}

std::string group_operation(const Lowering& lowering, const ProductGroup& group) {
  std::string text;
  for (int i : group.nodes) {
    const std::string& op = lowering.graph().nodes[static_cast<size_t>(i)].op;
    if (op == "DequantizeLinear") continue;
    text += (text.empty() ? "" : " + ") + op;
  }
  return text;
}

double share_not_zero(const Tensor& tensor) {
  const auto size = static_cast<double>(std::max<int64_t>(1, tensor.size()));
  return 1.0 - static_cast<double>(count_zeros(tensor)) / size;
}

Result<double> weight_density(Lowering& lowering, const std::string& name,
                              const WeightStore::Make& load) {
  PARE_ASSIGN_OR_RETURN(const Tensor density,
                        lowering.weights().get(name + "|density", [&]() -> Result<Tensor> {
                          PARE_ASSIGN_OR_RETURN(const Tensor weights, load());
                          return Tensor::scalar<double>(share_not_zero(weights));
                        }));
  return density.values<double>()[0];
}

DType result_type(const Lowering& lowering, const ProductGroup& group) {
  return lowering.storage_type(group.output);
}

Status lower_product(Lowering& lowering, const ProductGroup& group) {
  const Node& node = anchor_of(lowering, group);
  const bool integer_result = node.op.ends_with("Integer") && group.dynamic_scale.empty();
  if (integer_result) return lower_integer_product(lowering, group);
  if (node.op == "Conv" || node.op == "ConvInteger") return lower_conv(lowering, group);
  return group.general ? lower_matmul(lowering, group) : lower_gemm(lowering, group);
}

}  // namespace pare
