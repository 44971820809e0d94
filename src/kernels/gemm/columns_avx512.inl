// What columns_words.inl asks of AVX-512, whose variants differ in how they add.
#include <immintrin.h>

namespace pare {
namespace {

struct ColumnVectors {
  static __m512i load(const char* p) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static __m512i low(__m512i a, __m512i b) { return _mm512_unpacklo_epi16(a, b); }
  static __m512i high(__m512i a, __m512i b) { return _mm512_unpackhi_epi16(a, b); }
  static void in_order(__m512i& low, __m512i& high) {
    const __m512i left = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i right = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512i first = _mm512_permutex2var_epi64(low, left, high);
    high = _mm512_permutex2var_epi64(low, right, high);
    low = first;
  }
};

}  // namespace
}  // namespace pare
