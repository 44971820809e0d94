// What this processor can do, asked once and passed around: choosing a kernel is a pure function of
// it.
#ifndef PARE_BASE_CPU_FEATURES_H_
#define PARE_BASE_CPU_FEATURES_H_

#include <cstdint>
#include <string>

#include "pare/status.h"

namespace pare {

struct CpuFeatures {
  bool avx2 = false;      // with FMA and F16C
  bool avx_vnni = false;  // VNNI on 256-bit registers without AVX-512
  bool avx512 = false;    // F, BW, DQ, VL and CD
  bool avx512_vnni = false;
  bool avx512_vbmi = false;  // VBMI and VBMI2: byte permutes, expand
  bool avx512_bf16 = false;
  bool amx_int8 = false;  // with AMX-TILE, and the operating system's permission to use it
  bool amx_bf16 = false;

  bool operator==(const CpuFeatures&) const = default;
};

struct CpuInfo {
  CpuFeatures features;
  std::string model;  // "AMD EPYC 9R14", from the processor
  int cores = 1;      // that this process may use
  int64_t l1d_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
};

// Asks the processor and the operating system (CPUID, XGETBV, and arch_prctl for AMX).
CpuInfo detect_cpu();

// Features up to and including a named level, none beyond what `available` has: "baseline", "avx2",
// "avx_vnni", "avx512", "avx512_vnni", "avx512_vbmi", "avx512_bf16", "amx". An unknown level, or
// one that the processor lacks, is an error that lists those it has.
Result<CpuFeatures> limit_features(const CpuFeatures& available, const std::string& level);

// "avx2 avx512 avx512_vnni"; "baseline" for none.
std::string features_string(const CpuFeatures& features);

}  // namespace pare

#endif  // PARE_BASE_CPU_FEATURES_H_
