// What the x86_<isa>.cc and arm_<isa>.cc files of this family define; peak.cc puts them into the
// table.
#ifndef PARE_KERNELS_PEAK_LOOPS_H_
#define PARE_KERNELS_PEAK_LOOPS_H_

#include <cstdint>

namespace pare {

inline constexpr int kPeakChains =
    12;                               // sums under way: three of four cycles on two pipes and more
inline constexpr int kPeakReads = 8;  // loads of one round of reading

double multiply_f32_avx2(int64_t rounds, const float* memory);
double multiply_s8_avx2(int64_t rounds, const float* memory);
double read_avx2(int64_t rounds, const float* memory);
double multiply_f32_avx512(int64_t rounds, const float* memory);
double multiply_s8_avx512(int64_t rounds, const float* memory);
double read_avx512(int64_t rounds, const float* memory);
double multiply_s8_avx512_vnni(int64_t rounds, const float* memory);
double multiply_bf16_avx512_bf16(int64_t rounds, const float* memory);
double multiply_f32_neon(int64_t rounds, const float* memory);
double multiply_s8_neon(int64_t rounds, const float* memory);
double read_neon(int64_t rounds, const float* memory);

}  // namespace pare

#endif  // PARE_KERNELS_PEAK_LOOPS_H_
