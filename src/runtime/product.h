// What the lowering of convolutions and of matrix products share: the epilogue of a group, its
// constants, its residual.
#ifndef PARE_RUNTIME_PRODUCT_H_
#define PARE_RUNTIME_PRODUCT_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "kernels/epilogue.h"
#include "kernels/gemm/gemm.h"
#include "runtime/fusion.h"
#include "runtime/lowering.h"

namespace pare {

// The layer's weights as seen by its epilogue.
struct ProductWeights {
  // Of the node that multiplies, unlike any other's: the key for everything derived from weights,
  // scales and bias. Several nodes may read one tensor, each in its own way.
  std::string layer;
  int64_t channels = 0;  // n of epilogue.h
  // Sum of the int8 weights of each output channel.
  std::function<Result<std::vector<int32_t>>()> sums;
};

// An epilogue whose pointers are filled in when the step runs: constants stay where the plan keeps
// them, the residual moves with the arena.
class EpiloguePlan {
 public:
  // `residual_order`: the memory order of the result, which the residual must share.
  static Result<EpiloguePlan> create(Lowering& lowering, const ProductGroup& group,
                                     const ProductWeights& weights, const Shape& output_shape,
                                     const std::vector<int>& residual_order);

  // For the kernel's choice.
  Activation activation() const { return epilogue_.activation; }
  bool has_residual() const { return residual_.buffer >= 0; }
  DType dst_type() const { return dst_type_; }
  void set_dst_type(DType type) { dst_type_ = type; }

  // For another target: the numbers (its pointers are null), and where the constants and the
  // residual lie; no buffer: absent.
  const Epilogue& numbers() const { return epilogue_; }
  const View& bias() const { return bias_; }
  const View& int_bias() const { return int_bias_; }
  const View& multiplier() const { return multiplier_; }
  const View& residual() const { return residual_; }

  void add_reads(std::vector<int>& reads) const;
  // Bytes of scratch for the constants of a dynamically quantised product.
  int64_t scratch_bytes() const;
  // `scratch`: scratch_bytes() of it.
  Epilogue resolve(const StepContext& context, std::byte* scratch, int64_t residual_stride) const;
  // Of an integer product's source; 0 for a float one.
  int32_t source_zero_point(const StepContext& context) const;

 private:
  Status add_integer_constants(Lowering& lowering, const ProductGroup& group,
                               const ProductWeights& weights);
  Status add_dynamic_constants(Lowering& lowering, const ProductGroup& group,
                               const ProductWeights& weights);

  Epilogue epilogue_;
  DType dst_type_ = DType::kFloat32;
  View bias_;
  View int_bias_;
  View multiplier_;
  View residual_;
  int32_t fixed_zero_point_ = 0;
  // Dynamic quantisation: scale and zero point of the source, scales and sums of the weights.
  View source_scale_;
  View source_zero_point_;
  View weight_scales_;
  View weight_sums_;
  int64_t channels_ = 0;
};

// The kernel that tuning names for a layer where it takes the problem, else the usual choice, which
// `choose` makes for a request.
template <typename Choose>
auto choose_tuned(const Lowering& lowering, const std::string& layer, const Choose& choose)
    -> decltype(choose(lowering.kernels())) {
  const KernelTuning& tuning = lowering.options().tuning;
  if (const auto tuned = tuning.find(layer); tuned != tuning.end()) {
    KernelRequest request = lowering.kernels();
    request.forced = tuned->second;
    auto choice = choose(request);
    if (choice.ok()) {
      choice->reason = "measured to be the fastest here (pare tune-kernels)";
      return choice;
    }
  }
  return choose(lowering.kernels());
}

// Names of the kernels of a family that can run a problem, the reference aside.
template <typename Kernel, typename Problem>
std::vector<std::string> able_kernels(std::span<const Kernel* const> list, const Problem& problem,
                                      const KernelRequest& request) {
  const IsaBits have = isa_bits(request.cpu);
  std::vector<std::string> names;
  for (const Kernel* kernel : list.first(list.size() - 1)) {
    if (detail::why_not(*kernel, problem, have).empty()) names.emplace_back(kernel->name);
  }
  return names;
}

// Says in LayerPlan what a product of `weights` elements has to do, by the kernel that stands
// there.
void describe_work(LayerPlan& layer, DType weights_type, int64_t weights);
// "Conv + Relu", for LayerPlan.
std::string group_operation(const Lowering& lowering, const ProductGroup& group);
// Share of the elements that are not zero.
double share_not_zero(const Tensor& tensor);
// The same of the weights `name`, counted once and kept in the
// weight store: later plans know it when the weights are released.
Result<double> weight_density(Lowering& lowering, const std::string& name,
                              const WeightStore::Make& load);
// Type in which a float result is stored: the session's, where every reader takes it.
DType result_type(const Lowering& lowering, const ProductGroup& group);

// A dense layer whose kernel is chosen and whose weights are packed: what lower_gemm() runs.
struct DenseLayer {
  GemmProblem problem;
  Choice<GemmKernel> choice;
  View src;      // [m, k]
  View weights;  // packed
  EpiloguePlan epilogue;
  LayerPlan plan;
};
Result<DenseLayer> prepare_dense(Lowering& lowering, const ProductGroup& group);
Status emit_dense(Lowering& lowering, const ProductGroup& group, const DenseLayer& layer);

// lower_conv.cc, lower_gemm.cc
Status lower_conv(Lowering& lowering, const ProductGroup& group);
Status lower_gemm(Lowering& lowering, const ProductGroup& group);
Status lower_matmul(Lowering& lowering, const ProductGroup& group);
// lower_integer_product.cc: MatMulInteger and ConvInteger whose int32 result is wanted itself.
Status lower_integer_product(Lowering& lowering, const ProductGroup& group);

}  // namespace pare

#endif  // PARE_RUNTIME_PRODUCT_H_
