// The tile sets that the x86_*.cc files define.
#ifndef PARE_KERNELS_GEMM_TILESETS_H_
#define PARE_KERNELS_GEMM_TILESETS_H_

#include "kernels/gemm/tile.h"

namespace pare {

extern const TileSet tiles_f32_6x64_avx512;
extern const TileSet tiles_bf16_6x64_avx512;
extern const TileSet tiles_f16_6x64_avx512;
extern const TileSet tiles_u8s8_4x64_avx512;
extern const TileSet tiles_u8s8_6x64_avx512_vnni;
extern const TileSet tiles_bf16dot_6x64_avx512_bf16;
extern const TileSet tiles_f32_6x16_avx2;
extern const TileSet tiles_bf16_6x16_avx2;
extern const TileSet tiles_f16_6x16_avx2;
extern const TileSet tiles_u8s8_4x16_avx2;
extern const TileSet tiles_f32_6x16_neon;
extern const TileSet tiles_bf16_6x16_neon;
extern const TileSet tiles_f16_6x16_neon;
extern const TileSet tiles_u8s8_4x16_neon;

}  // namespace pare

#endif  // PARE_KERNELS_GEMM_TILESETS_H_
