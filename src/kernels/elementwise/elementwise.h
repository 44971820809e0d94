// Elementwise operations.
//
// A program is a chain of float operations on one running value r, applied to pieces of a few
// hundred elements that stay in the first-level cache, so that a chain costs one pass over memory:
//
//   r = load(operand 0);  for each instruction  r = op(r)  or  r = op(r, load(operand k)); store(r)
//
// load converts to float32, integers by float(q - zero_point) * scale; store rounds to the float
// type asked for, or quantises by base/rounding.h. Every operation is rounded to float32 on its own
// (no fused multiply-add), so a chain gives bit for bit what its operations one by one give.
//
// The typed functions below serve what is not float: shape arithmetic, comparisons, masks, casts.
#ifndef PARE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
#define PARE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_

#include <cstdint>
#include <vector>

#include "pare/status.h"

#include "base/dtype.h"
#include "base/thread_pool.h"
#include "kernels/elementwise/loops.h"
#include "kernels/kernel.h"
#include "kernels/strided.h"

namespace pare {

// Where and how an operand lies. Strides are for the dimensions of ElementwiseProblem::shape.
struct ElementwiseOperand {
  DType type = DType::kFloat32;  // float32, float16, bfloat16, int8, uint8, int32 or bool
  int32_t zero_point = 0;        // integers only
  float scale = 1.0F;            // what a loaded operand is multiplied with; not for dst
  std::vector<int64_t> strides;
};

struct ElementwiseInstruction {
  LoopOp op = LoopOp::kAdd;
  int operand = -1;       // of a binary operation
  bool reversed = false;  // op(operand, r) instead of op(r, operand)
  float alpha = 0.0F;
  float beta = 0.0F;
};

struct ElementwiseProblem {
  std::vector<int64_t> shape;  // of the result
  std::vector<ElementwiseOperand> operands;
  std::vector<ElementwiseInstruction> program;
  ElementwiseOperand dst;  // quantises when its type is an integer
  float dst_scale = 1.0F;  // integers only
  int32_t dst_lo = 0;
  int32_t dst_hi = 255;
};

struct ElementwiseKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const ElementwiseProblem&);
  const ElementwiseLoops* loops;
};

Result<Choice<ElementwiseKernel>> choose_elementwise(const ElementwiseProblem& problem,
                                                     const KernelRequest& request);

// A problem with its dimensions merged, ready to run any number of times.
class ElementwisePlan {
 public:
  ElementwisePlan(ElementwiseProblem problem, const ElementwiseKernel& kernel);
  // srcs[k] is operand k's first element; the destination may be operand 0 itself if type and
  // strides are the same.
  void run(const void* const* srcs, void* dst, ThreadPool& pool) const;

 private:
  void run_range(const void* const* srcs, void* dst, int64_t begin, int64_t end) const;

  ElementwiseProblem problem_;
  StridedShape dst_walk_;
  std::vector<StridedShape> walks_;  // one for each operand
  const ElementwiseLoops* loops_;
};

// Operands of one program at most.
inline constexpr size_t kMaxElementwiseOperands = 16;

// dst[i] = table[src[i]].
void run_table(const uint8_t* table, const uint8_t* src, uint8_t* dst, int64_t count,
               ThreadPool& pool);

// --- Typed operations: references only. ---

// The operations of ONNX on integers, float64 and bool.
enum class TypedOp : uint8_t {
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kPow,
  kMod,
  kEqual,
  kGreater,
  kGreaterOrEqual,
  kLess,
  kLessOrEqual,
  kAnd,
  kOr,
  kXor,
};

// dst[i] = op(a[i], b[i]); strides for the dimensions of `shape`, dst is dense. Comparisons write
// bool; the others the operands' type. Integer division by zero gives 0.
struct TypedBinaryProblem {
  TypedOp op = TypedOp::kAdd;
  DType type = DType::kInt64;
  std::vector<int64_t> shape;
  std::vector<int64_t> a_strides;
  std::vector<int64_t> b_strides;
};
Status check_typed_binary(const TypedBinaryProblem& problem);
void run_typed_binary(const TypedBinaryProblem& problem, const void* a, const void* b, void* dst);

enum class TypedUnaryOp : uint8_t { kNot, kNeg, kAbs, kSign, kIsNaN };
Status check_typed_unary(TypedUnaryOp op, DType type);
void run_typed_unary(TypedUnaryOp op, DType type, int64_t count, const void* src, void* dst);

// dst[i] = condition[i] ? a[i] : b[i] for elements of 1, 2, 4 or 8 bytes; dst is dense.
struct WhereProblem {
  int element_bytes = 4;
  std::vector<int64_t> shape;
  std::vector<int64_t> condition_strides;
  std::vector<int64_t> a_strides;
  std::vector<int64_t> b_strides;
};
void run_where(const WhereProblem& problem, const void* condition, const void* a, const void* b,
               void* dst);

// ONNX Cast between any two types of a byte or more, dense: floats to integers cut towards zero and
// stay in range, anything to bool is "not zero".
void run_cast(DType from, DType to, int64_t count, const void* src, void* dst);

}  // namespace pare

#endif  // PARE_KERNELS_ELEMENTWISE_ELEMENTWISE_H_
