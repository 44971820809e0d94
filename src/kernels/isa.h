// Instruction sets as bits, for the lists of kernel variants. This header and epilogue.h are all of
// ours that a file compiled for one instruction set may include: plain types, no STL templates,
// which would otherwise leak that instruction set into the baseline program.
#ifndef PARE_KERNELS_ISA_H_
#define PARE_KERNELS_ISA_H_

#include <cstdint>

// What the compiler is for: a family lists and builds the variants of this kind of processor alone.
#if defined(__x86_64__)
#define PARE_X86 1
#define PARE_NEON 0
#elif defined(__aarch64__)
#define PARE_X86 0
#define PARE_NEON 1  // part of every 64-bit ARM: the baseline there
#else
#define PARE_X86 0
#define PARE_NEON 0
#endif

namespace pare {

// The bits stand for the fields of CpuFeatures with the same names.
using IsaBits = uint32_t;
inline constexpr IsaBits kIsaBaseline = 0;
inline constexpr IsaBits kIsaAvx2 = 1U << 0;  // with FMA and F16C
inline constexpr IsaBits kIsaAvxVnni = 1U << 1;
inline constexpr IsaBits kIsaAvx512 = 1U << 2;  // F, BW, DQ, VL and CD
inline constexpr IsaBits kIsaAvx512Vnni = 1U << 3;
inline constexpr IsaBits kIsaAvx512Vbmi = 1U << 4;
inline constexpr IsaBits kIsaAvx512Bf16 = 1U << 5;
inline constexpr IsaBits kIsaAmxInt8 = 1U << 6;
inline constexpr IsaBits kIsaAmxBf16 = 1U << 7;

}  // namespace pare

#endif  // PARE_KERNELS_ISA_H_
