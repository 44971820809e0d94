// Tiles of 6 x 16 on NEON: 24 sums of four lanes in its 32 registers, four vectors of the panel and
// one broadcast. The panels are AVX2's.
#include "kernels/gemm/finish.inl"
#include "kernels/gemm/tiles_dword.inl"
#include "kernels/gemm/tiles_float.inl"
#include "kernels/gemm/tilesets.h"
#include "kernels/gemm/widen.inl"

namespace pare {

const TileSet tiles_f32_6x16_neon = PARE_FLOAT_TILE_SET(WeightsF32, 4);
const TileSet tiles_bf16_6x16_neon = PARE_FLOAT_TILE_SET(WeightsBF16, 4);
const TileSet tiles_f16_6x16_neon = PARE_FLOAT_TILE_SET(WeightsF16, 4);

namespace {

// Four columns by four k: a product of uint8 and int8 fits sixteen bits (255 * -128 = -32,640), and
// neighbours are added into thirty-two.
struct DotNeon {
  using Sum = int32x4_t;
  using A = int16x8_t;
  struct W {
    int16x8_t low, high;
  };
  static Sum zero() { return vdupq_n_s32(0); }
  static Sum load(const void* p) { return vld1q_s32(static_cast<const int32_t*>(p)); }
  static void store(void* p, Sum v) { vst1q_s32(static_cast<int32_t*>(p), v); }
  static A a(int32_t dword) {
    return vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_s32(vdup_n_s32(dword))));
  }
  static W w(const void* p) {
    const int8x16_t bytes = vld1q_s8(static_cast<const int8_t*>(p));
    return {vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes))};
  }
  static Sum add(Sum sum, A a, const W& w) {
    const Sum low = vpaddlq_s16(vmulq_s16(a, w.low));
    const Sum high = vpaddlq_s16(vmulq_s16(a, w.high));
    return vaddq_s32(sum, vpaddq_s32(low, high));
  }
};

}  // namespace

const TileSet tiles_u8s8_4x16_neon = {
    .max_rows = 4,
    .lanes = V::kLanes,
    .max_vectors = 4,
    .group = 4,
    .src_bytes = 1,
    .weight_bytes = 1,
    .task_macs = 128 << 10,
    .tiles = {PARE_DWORD_TILES_4(DotNeon, 1, 1), PARE_DWORD_TILES_4(DotNeon, 1, 2),
              PARE_DWORD_TILES_4(DotNeon, 1, 3), PARE_DWORD_TILES_4(DotNeon, 1, 4)},
    .finish = finish_block<int32_t>,
    .widen = widen_row};

}  // namespace pare
