// float16 and bfloat16: weights stored in 16 bits.
//
// Every float32 initializer with at least two dimensions and kSmallest elements (weights,
// embeddings) is stored in 16 bits, rounded to nearest even, followed by a Cast to float32. Biases,
// norms and constants stay float32: a thousandth of the bytes, and where rounding hurts most.
// Storage only, on purpose: any engine runs the file and gives the same answers, on processors
// without 16-bit arithmetic too (ONNX Runtime's CPU provider has no bfloat16 convolution and few
// float16 ones). Our runtime folds the Cast; arithmetic in 16 bits is the Session's `precision`.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "compress/method.h"
#include "graph/onnx_types.h"

namespace pare {
namespace {

constexpr int64_t kSmallest = 256;

double largest_relative_error(const Tensor& before, const std::vector<float>& after) {
  const auto values = before.values<float>();
  double largest = 0;
  double worst = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    largest = std::max(largest, std::fabs(static_cast<double>(values[i])));
    worst = std::max(worst, std::fabs(static_cast<double>(values[i]) - after[i]));
  }
  return largest > 0 ? worst / largest : 0;
}

Result<Graph> store_as(const Graph& graph, DType type, CompressContext& context) {
  Graph result = graph;
  std::vector<Node> casts;
  int64_t before_bytes = 0;
  int64_t after_bytes = 0;
  for (const auto& [name, tensor] : graph.initializers) {
    before_bytes += tensor.byte_count();
    after_bytes += tensor.byte_count();
    if (tensor.type() != DType::kFloat32 || tensor.rank() < 2 || tensor.size() < kSmallest)
      continue;
    PARE_ASSIGN_OR_RETURN(Tensor stored, convert_floating(tensor, type));
    const std::vector<float> back = to_float_vector(stored);
    for (size_t i = 0; i < back.size(); ++i)
      if (!std::isfinite(back[i]))
        return numeric_error(
            fmt::format("weight '{}': element {} is {}, beyond {}'s largest value{}", name, i,
                        tensor.values<float>()[i], dtype_name(type),
                        type == DType::kFloat16 ? ": use bf16, whose range is float32's" : ""));
    after_bytes += stored.byte_count() - tensor.byte_count();
    context.report->layers.push_back(
        {{"layer", name},
         {"weights", tensor.size()},
         {"largest_error_of_range", largest_relative_error(tensor, back)}});
    Node cast;
    cast.op = "Cast";
    cast.name = result.fresh_name(name + ".cast");
    const std::string stored_name = result.fresh_name(fmt::format("{}.{}", name, dtype_name(type)));
    result.initializers.erase(name);
    result.initializers[stored_name] = std::move(stored);
    cast.inputs = {stored_name};
    cast.outputs = {name};  // readers keep the name they know
    cast.attributes["to"] = onnx_from_dtype(DType::kFloat32);
    casts.push_back(std::move(cast));
  }
  if (casts.empty())
    context.report->warnings.push_back(
        fmt::format("no float32 weights of at least {} elements are left to store as {}", kSmallest,
                    dtype_name(type)));
  result.nodes.insert(result.nodes.begin(), casts.begin(), casts.end());
  context.report->summary =
      fmt::format("{} tensors stored as {}: {:.2f} MB of weights instead of {:.2f}", casts.size(),
                  dtype_name(type), static_cast<double>(after_bytes) / 1e6,
                  static_cast<double>(before_bytes) / 1e6);
  return result;
}

Result<Graph> apply_fp16(const Graph& graph, const RecipeStep&, CompressContext& context) {
  return store_as(graph, DType::kFloat16, context);
}

Result<Graph> apply_bf16(const Graph& graph, const RecipeStep&, CompressContext& context) {
  return store_as(graph, DType::kBFloat16, context);
}

}  // namespace

Method make_fp16_method() {
  Method method;
  method.name = "fp16";
  method.summary = "stores float32 weights as float16 (half the size, runs in any engine)";
  method.source = "IEEE 754-2019, binary16";
  method.stage = Stage::kStore;
  method.apply = apply_fp16;
  return method;
}

Method make_bf16_method() {
  Method method;
  method.name = "bf16";
  method.summary = "stores float32 weights as bfloat16 (half the size, float32's range)";
  method.source = "Kalamkar et al. 2019, 'A Study of BFLOAT16 for Deep Learning Training'";
  method.stage = Stage::kStore;
  method.apply = apply_bf16;
  return method;
}

}  // namespace pare
