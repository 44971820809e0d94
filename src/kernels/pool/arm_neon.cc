#include "kernels/pool/pixel.inl"

namespace pare {

const PoolPixel pool_pixel_neon = PARE_POOL_PIXEL;

}  // namespace pare
