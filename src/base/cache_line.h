// Sizes in whole cache lines (also an AVX-512 register).
#ifndef PARE_BASE_CACHE_LINE_H_
#define PARE_BASE_CACHE_LINE_H_

#include <cstdint>

namespace pare {

// Buffers, and parts of packed weights and of scratch memory, begin at whole cache lines.
inline int64_t round_up_64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace pare

#endif  // PARE_BASE_CACHE_LINE_H_
