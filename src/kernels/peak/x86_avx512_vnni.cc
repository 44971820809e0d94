// Sixty-four bytes by vpdpbusd.
#include "kernels/peak/loops.inl"

namespace pare {
namespace {

struct Bytes {
  using Sum = __m512i;
  using Operand = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Operand ones() { return _mm512_set1_epi8(1); }
  static Sum add(Sum sum, Operand a, Operand w) { return _mm512_dpbusd_epi32(sum, a, w); }
  static double total(const Sum& sum) { return total_of_ints(sum); }
};

}  // namespace

double multiply_s8_avx512_vnni(int64_t rounds, const float*) { return multiply<Bytes>(rounds); }

}  // namespace pare
