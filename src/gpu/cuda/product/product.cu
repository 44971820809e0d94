// Which kernel multiplies.
#include "gpu/cuda/product/variants.h"

namespace pare::gpu::cuda {
namespace {

enum class Variant { kFewRows, kGroup, kTensor, kSimple };

Variant variant_of(const ProductOp& op, const Launch& launch) {
  if (takes_few_rows(op)) return Variant::kFewRows;
  if (takes_group(op, launch.device)) return Variant::kGroup;
  const bool exact = op.src.type == DType::kFloat32 && !launch.tf32;
  return !exact && takes_tensor(op) ? Variant::kTensor : Variant::kSimple;
}

}  // namespace

cudaError_t launch(const ProductOp& op, const Launch& launch) {
  switch (variant_of(op, launch)) {
    case Variant::kFewRows:
      return launch_few_rows(op, launch);
    case Variant::kGroup:
      return launch_group(op, plan_group(op, launch.device), launch);
    case Variant::kTensor:
      return launch_tensor(op, plan_tensor(op, launch.device), launch);
    case Variant::kSimple:
      break;
  }
  return launch_simple(op, launch);
}

size_t workspace_bytes(const ProductOp& op, const Launch& launch) {
  const Variant variant = variant_of(op, launch);
  if (variant == Variant::kGroup) {
    return group_workspace_bytes(op, plan_group(op, launch.device));
  }
  if (variant != Variant::kTensor) return 0;
  return tensor_workspace_bytes(op, plan_tensor(op, launch.device));
}

KernelChoice choice(const ProductOp& op, const Launch& launch) {
  static constexpr const char* kManyRows = "tiles of 128 rows for every processor: warpgroups";
  switch (variant_of(op, launch)) {
    case Variant::kFewRows:
      return {"product_few_rows", "at most eight rows: the weights' bytes are the cost"};
    case Variant::kGroup:
      switch (plan_group(op, launch.device).width) {
        case 64:
          return {"product_group_128x64", kManyRows};
        case 128:
          return {"product_group_128x128", kManyRows};
        case 192:
          return {"product_group_128x192", kManyRows};
        default:
          return {"product_group_128x256", kManyRows};
      }
    case Variant::kTensor:
      break;
    case Variant::kSimple:
      return {"product_simple", op.src.type == DType::kFloat32 && !launch.tf32
                                    ? "float32 keeps its precision (precision tf32 does not)"
                                    : "channels are no multiple of what the tensor cores read"};
  }
  static constexpr const char* kNames[] = {"product_tensor_128x128", "product_tensor_128x64",
                                           "product_tensor_64x64", "product_tensor_32x64"};
  const TensorPlan plan = plan_tensor(op, launch.device);
  return {kNames[plan.tile], plan.splits > 1 ? "k is split so that every processor has work"
                                             : "the largest tile that fills the processors"};
}

}  // namespace pare::gpu::cuda
