#include "kernels/pool/pixel.inl"

namespace pare {

const PoolPixel pool_pixel_avx512 = PARE_POOL_PIXEL;

}  // namespace pare
