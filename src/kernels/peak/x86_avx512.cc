// The loops of x86_avx2.cc with registers twice as wide.
#include "kernels/peak/loops.inl"

namespace pare {
namespace {

struct Words {
  using Sum = __m512i;
  using Operand = __m512i;
  static Sum zero() { return _mm512_setzero_si512(); }
  static Operand ones() { return _mm512_set1_epi16(1); }
  static Sum add(Sum sum, Operand a, Operand w) {
    return _mm512_add_epi32(sum, _mm512_madd_epi16(a, w));
  }
  static double total(const Sum& sum) { return total_of_ints(sum); }
};

}  // namespace

double multiply_f32_avx512(int64_t rounds, const float*) { return multiply<FloatLanes>(rounds); }
double multiply_s8_avx512(int64_t rounds, const float*) { return multiply<Words>(rounds); }
double read_avx512(int64_t rounds, const float* memory) { return read_floats(rounds, memory); }

}  // namespace pare
