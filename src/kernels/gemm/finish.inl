// epilogue.h over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/math.h"
#include "kernels/simd/typed.inl"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

inline V::F start_vector(const float* sums, const Epilogue& e, int64_t column, int64_t n) {
  const V::F v = V::load_n(sums, n);
  return e.bias == nullptr ? v : V::add(v, V::load_n(e.bias + column, n));
}

inline V::F start_vector(const int32_t* sums, const Epilogue& e, int64_t column, int64_t n) {
  V::I sum = V::load_int_n(sums, n);
  if (e.int_bias != nullptr) sum = V::add_int(sum, V::load_int_n(e.int_bias + column, n));
  const V::F v = V::mul(V::to_float(sum), V::load_n(e.multiplier + column, n));
  return e.bias == nullptr ? v : V::add(v, V::load_n(e.bias + column, n));
}

template <typename Sum>
void finish_block(const FinishArgs& f) {
  const Epilogue& e = *f.epilogue;
  const IntegerRounding rounding{e.out_scale, e.out_zero_point, e.out_lo, e.out_hi};
  for (int64_t r = 0; r < f.rows; ++r) {
    const auto* sums = static_cast<const Sum*>(f.sums) + r * f.sums_stride;
    const int64_t row = f.first_row + r;
    for (int64_t c = 0; c < f.columns; c += V::kLanes) {
      const int64_t n = f.columns - c < V::kLanes ? f.columns - c : V::kLanes;
      const int64_t column = f.first_column + c;
      V::F v = start_vector(sums + c, e, column, n);
      if (e.residual != nullptr) {
        v = V::add(v, V::load_n(e.residual + row * e.residual_stride + column, n));
      }
      v = activate_of<V>(e.activation, v, e.alpha, e.beta);
      store_typed(f.dst_type, f.dst, row * f.dst_stride + column, v, n, rounding);
    }
  }
}

}  // namespace
}  // namespace pare
