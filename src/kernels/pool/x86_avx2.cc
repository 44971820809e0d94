#include "kernels/pool/pixel.inl"

namespace pare {

const PoolPixel pool_pixel_avx2 = PARE_POOL_PIXEL;

}  // namespace pare
