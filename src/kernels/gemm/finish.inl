// epilogue.h over the vector type V.
#include "kernels/gemm/tile.h"
#include "kernels/simd/math.h"
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

// rounding.h's round_clamp.
inline V::I round_vector(V::F v, const Epilogue& e) {
  if (e.out_scale != 1.0F) v = V::div(v, V::set(e.out_scale));
  v = V::round(v);
  v = V::max(v, V::set(static_cast<float>(e.out_lo - e.out_zero_point)));
  v = V::min(v, V::set(static_cast<float>(e.out_hi - e.out_zero_point)));
  return V::add_int(V::to_int(v), V::set_int(e.out_zero_point));
}

inline void store_vector(const FinishArgs& f, int64_t at, V::F v, int64_t n) {
  switch (f.dst_type) {
    case StoredType::kFloat32:
      V::store_n(static_cast<float*>(f.dst) + at, v, n);
      return;
    case StoredType::kBFloat16:
      V::to_bfloat16_n(static_cast<uint16_t*>(f.dst) + at, v, n);
      return;
    case StoredType::kFloat16:
      V::to_float16_n(static_cast<uint16_t*>(f.dst) + at, v, n);
      return;
    case StoredType::kUInt8:
      V::to_uint8_n(static_cast<uint8_t*>(f.dst) + at, round_vector(v, *f.epilogue), n);
      return;
  }
}

template <typename Sum>
void finish_block(const FinishArgs& f) {
  const Epilogue& e = *f.epilogue;
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
      store_vector(f, row * f.dst_stride + column, v, n);
    }
  }
}

}  // namespace
}  // namespace pare
