// Thirty-two bfloat16 by vdpbf16ps.
#include "kernels/peak/loops.inl"

namespace pare {
namespace {

struct Pairs {
  using Sum = __m512;
  using Operand = __m512i;
  static Sum zero() { return _mm512_setzero_ps(); }
  static Operand ones() { return _mm512_set1_epi16(0x3f80); }  // 1.0
  static Sum add(Sum sum, Operand a, Operand w) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(w), reinterpret_cast<__m512bh>(a));
  }
  static double total(const Sum& sum) { return FloatLanes::total(sum); }
};

}  // namespace

double multiply_bf16_avx512_bf16(int64_t rounds, const float*) { return multiply<Pairs>(rounds); }

}  // namespace pare
