// The rows of norm.h over the vector type V. A row is read in blocks of sixteen lanes, kParts
// vectors, so that sums have the same order on every instruction set.
#include "kernels/norm/rows.h"
#include "kernels/simd/math.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

constexpr int kParts = 16 / V::kLanes;

// Lanes of part `part` of the block at c that belong to a row of `cols`: 0 … V::kLanes.
inline int64_t lanes_at(int64_t c, int part, int64_t cols) {
  const int64_t left = cols - c - part * V::kLanes;
  if (left <= 0) return 0;
  return left < V::kLanes ? left : V::kLanes;
}

// The sum over the row of term(vector, lanes), where lanes beyond the row count as zero.
template <typename Term>
inline float sum_row(const NormRowArgs& a, Term&& term) {
  V::F sums[kParts];
  for (int part = 0; part < kParts; ++part) sums[part] = V::zero();
  for (int64_t c = 0; c < a.cols; c += 16) {
    for (int part = 0; part < kParts; ++part) {
      const int64_t n = lanes_at(c, part, a.cols);
      if (n == 0) break;
      const V::F x = load_typed(a.src_type, a.src, a.first + c + part * V::kLanes, n);
      const V::F t = term(x);
      sums[part] = V::add(sums[part], n == V::kLanes ? t : V::first_or(t, V::zero(), n));
    }
  }
  return V::sum_of_16(sums);
}

inline float max_row(const NormRowArgs& a) {
  const V::F lowest = V::set(-__builtin_inff());
  V::F most[kParts];
  for (int part = 0; part < kParts; ++part) most[part] = lowest;
  for (int64_t c = 0; c < a.cols; c += 16) {
    for (int part = 0; part < kParts; ++part) {
      const int64_t n = lanes_at(c, part, a.cols);
      if (n == 0) break;
      const V::F x = load_typed(a.src_type, a.src, a.first + c + part * V::kLanes, n);
      most[part] = V::max(most[part], V::first_or(x, lowest, n));
    }
  }
  return V::max_of_16(most);
}

// dst = result(vector, column, lanes) for the whole row.
template <typename Result>
inline void map_row(const NormRowArgs& a, Result&& result) {
  for (int64_t c = 0; c < a.cols; c += V::kLanes) {
    const int64_t n = a.cols - c < V::kLanes ? a.cols - c : V::kLanes;
    const V::F x = load_typed(a.src_type, a.src, a.first + c, n);
    store_typed(a.dst_type, a.dst, a.first + c, result(x, c, n), n, a.rounding);
  }
}

void layer_norm_row(const NormRowArgs& a) {
  const auto cols = static_cast<float>(a.cols);
  const V::F mean = V::set(sum_row(a, [](V::F x) { return x; }) / cols);
  const float squares = sum_row(a, [&](V::F x) {
    const V::F d = V::sub(x, mean);
    return V::mul(d, d);
  });
  const V::F inverse = V::set(1.0F / __builtin_sqrtf(squares / cols + a.epsilon));
  map_row(a, [&](V::F x, int64_t c, int64_t n) {
    V::F v = V::mul(V::sub(x, mean), inverse);
    if (a.gamma != nullptr) v = V::mul(v, V::load_n(a.gamma + c, n));
    return a.beta == nullptr ? v : V::add(v, V::load_n(a.beta + c, n));
  });
}

// e^(x - most), exactly 0 for differences whose power is subnormal.
inline V::F shifted_exp(V::F x, V::F most) {
  const V::F d = V::sub(x, most);
  return V::select(V::less(d, V::set(-87.3F)), V::zero(), exp_of<V>(d));
}

void softmax_row(const NormRowArgs& a) {
  const V::F most = V::set(max_row(a));
  const V::F sum = V::set(sum_row(a, [&](V::F x) { return shifted_exp(x, most); }));
  map_row(a, [&](V::F x, int64_t, int64_t) { return V::div(shifted_exp(x, most), sum); });
}

void log_softmax_row(const NormRowArgs& a) {
  const V::F most = V::set(max_row(a));
  const float sum = sum_row(a, [&](V::F x) { return shifted_exp(x, most); });
  const V::F logarithm = V::set(__builtin_logf(sum));
  map_row(a, [&](V::F x, int64_t, int64_t) { return V::sub(V::sub(x, most), logarithm); });
}

void scaled_softmax_row(float* scores, int64_t cols, float scale) {
  const NormRowArgs a{
      scores, scores, 0, cols, 0.0F, nullptr, nullptr, StoredType::kFloat32, StoredType::kFloat32,
      {}};
  const V::F factor = V::set(scale);
  map_row(a, [&](V::F x, int64_t, int64_t) { return V::mul(x, factor); });
  const V::F most = V::set(max_row(a));
  map_row(a, [&](V::F x, int64_t, int64_t) { return shifted_exp(x, most); });
  const V::F share = V::set(1.0F / sum_row(a, [](V::F x) { return x; }));
  map_row(a, [&](V::F x, int64_t, int64_t) { return V::mul(x, share); });
}

}  // namespace
}  // namespace pare

#define PARE_NORM_ROWS \
  { layer_norm_row, softmax_row, log_softmax_row, scaled_softmax_row }
