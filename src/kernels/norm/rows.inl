// The rows of norm.h over the vector type V. A row is read in blocks of sixteen lanes, kParts
// vectors, so that sums have the same order on every instruction set.
#include "kernels/norm/rows.h"
#include "kernels/simd/math.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

constexpr int kParts = 16 / V::kLanes;

// f(column, part, lanes) for each vector of a row, block by block; lanes is V::kLanes for all but
// the last ones.
template <typename F>
inline void each_vector(int64_t cols, F&& f) {
  int64_t c = 0;
  for (; c + 16 <= cols; c += 16) {
    for (int part = 0; part < kParts; ++part) f(c + part * V::kLanes, part, V::kLanes);
  }
  for (int part = 0; c < cols; ++part, c += V::kLanes) {
    f(c, part, cols - c < V::kLanes ? cols - c : V::kLanes);
  }
}

// v where lanes belong to the row, `other` beyond.
inline V::F within(V::F v, V::F other, int64_t n) {
  return n == V::kLanes ? v : V::first_or(v, other, n);
}

// The sum over the row of term(vector, lanes), where lanes beyond the row count as zero.
template <typename Term>
inline float sum_row(const NormRowArgs& a, Term&& term) {
  V::F sums[kParts];
  for (int part = 0; part < kParts; ++part) sums[part] = V::zero();
  each_vector(a.cols, [&](int64_t c, int part, int64_t n) {
    const V::F x = load_typed(a.src_type, a.src, a.first + c, n);
    sums[part] = V::add(sums[part], within(term(x), V::zero(), n));
  });
  return V::sum_of_16(sums);
}

inline float max_row(const NormRowArgs& a) {
  const V::F lowest = V::set(-__builtin_inff());
  V::F most[kParts];
  for (int part = 0; part < kParts; ++part) most[part] = lowest;
  each_vector(a.cols, [&](int64_t c, int part, int64_t n) {
    const V::F x = load_typed(a.src_type, a.src, a.first + c, n);
    most[part] = V::max(most[part], within(x, lowest, n));
  });
  return V::max_of_16(most);
}

// dst = result(vector, column, lanes) for the whole row.
template <typename Result>
inline void map_row(const NormRowArgs& a, Result&& result) {
  each_vector(a.cols, [&](int64_t c, int, int64_t n) {
    const V::F x = load_typed(a.src_type, a.src, a.first + c, n);
    store_typed(a.dst_type, a.dst, a.first + c, result(x, c, n), n, a.rounding);
  });
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

// Three passes over the row: scale and largest, powers and their sum, shares.
void scaled_softmax_row(float* scores, int64_t cols, float scale) {
  const V::F factor = V::set(scale);
  const V::F lowest = V::set(-__builtin_inff());
  V::F most_of[kParts];
  V::F sums[kParts];
  for (int part = 0; part < kParts; ++part) {
    most_of[part] = lowest;
    sums[part] = V::zero();
  }
  each_vector(cols, [&](int64_t c, int part, int64_t n) {
    const V::F x = V::mul(V::load_n(scores + c, n), factor);
    V::store_n(scores + c, x, n);
    most_of[part] = V::max(most_of[part], within(x, lowest, n));
  });
  const V::F most = V::set(V::max_of_16(most_of));
  each_vector(cols, [&](int64_t c, int part, int64_t n) {
    const V::F power = shifted_exp(V::load_n(scores + c, n), most);
    V::store_n(scores + c, power, n);
    sums[part] = V::add(sums[part], within(power, V::zero(), n));
  });
  const V::F share = V::set(1.0F / V::sum_of_16(sums));
  each_vector(cols, [&](int64_t c, int, int64_t n) {
    V::store_n(scores + c, V::mul(V::load_n(scores + c, n), share), n);
  });
}

}  // namespace
}  // namespace pare

#define PARE_NORM_ROWS \
  { layer_norm_row, softmax_row, log_softmax_row, scaled_softmax_row }
