// Eight floats by fused multiply-add; sixteen words of widened bytes by vpmaddwd and an addition
// (vpmaddubsw would take twice as many, but saturates).
#include "kernels/peak/loops.inl"

namespace pare {
namespace {

struct Words {
  using Sum = __m256i;
  using Operand = __m256i;
  static Sum zero() { return _mm256_setzero_si256(); }
  static Operand ones() { return _mm256_set1_epi16(1); }
  static Sum add(Sum sum, Operand a, Operand w) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(a, w));
  }
  static double total(const Sum& sum) { return total_of_ints(sum); }
};

}  // namespace

double multiply_f32_avx2(int64_t rounds, const float*) { return multiply<FloatLanes>(rounds); }
double multiply_s8_avx2(int64_t rounds, const float*) { return multiply<Words>(rounds); }
double read_avx2(int64_t rounds, const float* memory) { return read_floats(rounds, memory); }

}  // namespace pare
