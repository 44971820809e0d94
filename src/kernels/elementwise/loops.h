// The inner loops of elementwise programs, on flat float32 pieces: one table an instruction set.
// Plain types only: files compiled for an instruction set include this.
#ifndef PARE_KERNELS_ELEMENTWISE_LOOPS_H_
#define PARE_KERNELS_ELEMENTWISE_LOOPS_H_

#include <cstdint>

namespace pare {

enum class LoopOp : uint8_t {
  // r = op(r), with alpha and beta where the comment names them
  kAbs,
  kNeg,
  kExp,
  kLog,
  kSqrt,
  kReciprocal,
  kErf,
  kTanh,
  kSigmoid,
  kRelu,
  kLeakyRelu,  // alpha
  kClip,       // alpha to beta
  kGelu,
  kGeluTanh,
  kSilu,
  kHardSigmoid,  // alpha, beta
  kHardSwish,
  kFloor,
  kCeil,
  kRound,
  kSign,
  kSoftplus,
  kElu,    // alpha
  kScale,  // r * alpha
  // r = op(r, b)
  kAdd,
  kSub,
  kMul,
  kDiv,
  kMin,
  kMax,
  kPow,
  kPRelu,  // r < 0 ? b * r : r
  kCount
};
inline constexpr LoopOp kFirstBinaryLoop = LoopOp::kAdd;

// dst may be a or b. Unary operations read alpha and beta in place of b.
using UnaryLoop = void (*)(const float* a, float* dst, int64_t n, float alpha, float beta);
using BinaryLoop = void (*)(const float* a, const float* b, float* dst, int64_t n);

struct ElementwiseLoops {
  UnaryLoop unary[static_cast<int>(kFirstBinaryLoop)];
  BinaryLoop binary[static_cast<int>(LoopOp::kCount) - static_cast<int>(kFirstBinaryLoop)];
  // float(q - zero_point)
  void (*load_u8)(const uint8_t* src, float* dst, int64_t n, int32_t zero_point);
  void (*load_s8)(const int8_t* src, float* dst, int64_t n, int32_t zero_point);
  void (*load_s32)(const int32_t* src, float* dst, int64_t n, int32_t zero_point);
  void (*load_f16)(const uint16_t* src, float* dst, int64_t n);
  void (*load_bf16)(const uint16_t* src, float* dst, int64_t n);
  // round_clamp(v / scale, zero_point, lo, hi)
  void (*store_u8)(const float* src, uint8_t* dst, int64_t n, float scale, int32_t zero_point,
                   int32_t lo, int32_t hi);
  void (*store_s8)(const float* src, int8_t* dst, int64_t n, float scale, int32_t zero_point,
                   int32_t lo, int32_t hi);
  void (*store_f16)(const float* src, uint16_t* dst, int64_t n);
  void (*store_bf16)(const float* src, uint16_t* dst, int64_t n);
};

extern const ElementwiseLoops kReferenceLoops;
extern const ElementwiseLoops kAvx2Loops;
extern const ElementwiseLoops kAvx512Loops;
extern const ElementwiseLoops kNeonLoops;

}  // namespace pare

#endif  // PARE_KERNELS_ELEMENTWISE_LOOPS_H_
