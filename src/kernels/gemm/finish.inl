// epilogue.h over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/math.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

template <typename Sum>
constexpr bool kIntegerSum = static_cast<Sum>(0.5F) == static_cast<Sum>(0);

// What one vector of columns adds to every row's sums; loaded once.
struct Columns {
  V::F bias, multiplier;
  V::I int_bias;
  bool biased;
};

inline Columns load_columns(const Epilogue& e, int64_t column, int64_t n, bool integer) {
  Columns c{V::zero(), V::zero(), V::zero_int(), e.bias != nullptr};
  if (c.biased) c.bias = V::load_n(e.bias + column, n);
  if (integer && e.int_bias != nullptr) c.int_bias = V::load_int_n(e.int_bias + column, n);
  if (integer) c.multiplier = V::load_n(e.multiplier + column, n);
  return c;
}

inline V::F start_vector(const float* sums, const Columns& c, int64_t n) {
  const V::F v = V::load_n(sums, n);
  return c.biased ? V::add(v, c.bias) : v;
}

inline V::F start_vector(const int32_t* sums, const Columns& c, int64_t n) {
  const V::I sum = V::add_int(V::load_int_n(sums, n), c.int_bias);
  const V::F v = V::mul(V::to_float(sum), c.multiplier);
  return c.biased ? V::add(v, c.bias) : v;
}

// One vector of columns of all rows. What the loop needs is copied, since a byte stored may be
// part of anything that pointers lead to; what most layers leave out is left out of the loop, whose
// few instructions are a tenth of a small layer's time.
template <typename Sum, StoredType kDst, bool kResidual, bool kActivation>
void finish_columns(const FinishArgs& f, int64_t c, int64_t n) {
  const Epilogue e = *f.epilogue;
  const IntegerRounding rounding{e.out_scale, e.out_zero_point, e.out_lo, e.out_hi};
  const int64_t rows = f.rows;
  const int64_t column = f.first_column + c;
  const Columns columns = load_columns(e, column, n, kIntegerSum<Sum>);
  const Sum* sums = static_cast<const Sum*>(f.sums) + c;
  const int64_t sums_stride = f.sums_stride;
  const float* residual = e.residual;
  if constexpr (kResidual) residual += f.first_row * e.residual_stride + column;
  void* const dst = f.dst;
  int64_t at = f.first_row * f.dst_stride + column;
  const int64_t dst_stride = f.dst_stride;
  for (int64_t r = 0; r < rows; ++r) {
    V::F v = start_vector(sums, columns, n);
    sums += sums_stride;
    if constexpr (kResidual) {
      v = V::add(v, V::load_n(residual, n));
      residual += e.residual_stride;
    }
    if constexpr (kActivation) v = activate_of<V>(e.activation, v, e.alpha, e.beta);
    store_typed(kDst, dst, at, v, n, rounding);
    at += dst_stride;
  }
}

template <typename Sum, StoredType kDst, bool kResidual, bool kActivation>
void finish_all(const FinishArgs& f) {
  const auto columns = finish_columns<Sum, kDst, kResidual, kActivation>;
  int64_t c = 0;
  for (; c + V::kLanes <= f.columns; c += V::kLanes) columns(f, c, V::kLanes);
  if (c < f.columns) columns(f, c, f.columns - c);
}

template <typename Sum, StoredType kDst>
void finish_as(const FinishArgs& f) {
  if (f.epilogue->residual != nullptr) return finish_all<Sum, kDst, true, true>(f);
  if (f.epilogue->activation != Activation::kNone) return finish_all<Sum, kDst, false, true>(f);
  return finish_all<Sum, kDst, false, false>(f);
}

template <typename Sum>
void finish_block(const FinishArgs& f) {
  switch (f.dst_type) {
    case StoredType::kFloat32:
      return finish_as<Sum, StoredType::kFloat32>(f);
    case StoredType::kBFloat16:
      return finish_as<Sum, StoredType::kBFloat16>(f);
    case StoredType::kFloat16:
      return finish_as<Sum, StoredType::kFloat16>(f);
    case StoredType::kUInt8:
      return finish_as<Sum, StoredType::kUInt8>(f);
  }
}

}  // namespace
}  // namespace pare
