// Four floats by fused multiply-add; eight words by multiplication and a pairwise addition.
#include "kernels/peak/loops.inl"

namespace pare {
namespace {

struct Words {
  using Sum = int32x4_t;
  using Operand = int16x8_t;
  static Sum zero() { return vdupq_n_s32(0); }
  static Operand ones() { return vdupq_n_s16(1); }
  static Sum add(Sum sum, Operand a, Operand w) { return vpadalq_s16(sum, vmulq_s16(a, w)); }
  static double total(const Sum& sum) { return total_of_ints(sum); }
};

}  // namespace

double multiply_f32_neon(int64_t rounds, const float*) { return multiply<FloatLanes>(rounds); }
double multiply_s8_neon(int64_t rounds, const float*) { return multiply<Words>(rounds); }
double read_neon(int64_t rounds, const float* memory) { return read_floats(rounds, memory); }

}  // namespace pare
