#include "base/cpu_features.h"

#include <fmt/format.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <vector>

#include "base/thread_pool.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace pare {
namespace {

#if defined(__x86_64__)

struct Registers {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool bit(uint32_t word, int position) { return ((word >> position) & 1U) != 0; }

uint64_t enabled_state() {
  uint32_t low = 0;
  uint32_t high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

// Linux hands out the AMX tile registers only on request (since 5.16): ARCH_REQ_XCOMP_PERM of state
// component 18, XTILEDATA.
bool request_amx_permission() {
  constexpr long kArchReqXcompPerm = 0x1023;
  constexpr long kXtileData = 18;
  return ::syscall(SYS_arch_prctl, kArchReqXcompPerm, kXtileData) == 0;
}

CpuFeatures detect_features() {
  CpuFeatures f;
  const Registers one = cpuid(1);
  if (!bit(one.ecx, 27)) return f;  // OSXSAVE: the operating system saves the wide registers
  const uint64_t state = enabled_state();
  const bool ymm = (state & 0x6) == 0x6;
  const bool zmm = (state & 0xe6) == 0xe6;
  const bool tiles = (state & 0x60000) == 0x60000;
  const Registers seven = cpuid(7);
  const Registers seven_one = cpuid(7, 1);
  f.avx2 = ymm && bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29);
  f.avx_vnni = f.avx2 && bit(seven_one.eax, 4);
  f.avx512 = f.avx2 && zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 28) &&
             bit(seven.ebx, 30) && bit(seven.ebx, 31);
  f.avx512_vnni = f.avx512 && bit(seven.ecx, 11);
  f.avx512_vbmi = f.avx512 && bit(seven.ecx, 1) && bit(seven.ecx, 6);
  f.avx512_bf16 = f.avx512 && bit(seven_one.eax, 5);
  if (tiles && bit(seven.edx, 24) && request_amx_permission()) {
    f.amx_int8 = bit(seven.edx, 25);
    f.amx_bf16 = bit(seven.edx, 22);
  }
  return f;
}

std::string detect_model() {
  if (cpuid(0x80000000U).eax < 0x80000004U) return "unknown x86-64";
  std::array<char, 49> text{};
  for (uint32_t i = 0; i < 3; ++i) {
    const Registers r = cpuid(0x80000002U + i);
    std::memcpy(text.data() + 16 * i, &r, 16);
  }
  std::string model(text.data());
  while (!model.empty() && model.back() == ' ') model.pop_back();
  const size_t start = model.find_first_not_of(' ');
  return start == std::string::npos ? "unknown x86-64" : model.substr(start);
}

#else

CpuFeatures detect_features() { return {}; }
std::string detect_model() { return "unknown"; }

#endif

int64_t cache_bytes(int name) {
  const long size = ::sysconf(name);
  return size > 0 ? size : 0;
}

struct Level {
  const char* name;
  bool CpuFeatures::*feature;
};

// From the least to the most; a level brings all before it. AVX-VNNI stands between AVX2 and
// AVX-512 because processors have it instead of, not below, AVX-512's VNNI.
constexpr std::array<Level, 8> kLevels = {{
    {"avx2", &CpuFeatures::avx2},
    {"avx_vnni", &CpuFeatures::avx_vnni},
    {"avx512", &CpuFeatures::avx512},
    {"avx512_vnni", &CpuFeatures::avx512_vnni},
    {"avx512_vbmi", &CpuFeatures::avx512_vbmi},
    {"avx512_bf16", &CpuFeatures::avx512_bf16},
    {"amx_int8", &CpuFeatures::amx_int8},
    {"amx_bf16", &CpuFeatures::amx_bf16},
}};

}  // namespace

CpuInfo detect_cpu() {
  CpuInfo info;
  info.features = detect_features();
  info.model = detect_model();
  info.cores = available_cores();
  info.l1d_bytes = cache_bytes(_SC_LEVEL1_DCACHE_SIZE);
  info.l2_bytes = cache_bytes(_SC_LEVEL2_CACHE_SIZE);
  info.l3_bytes = cache_bytes(_SC_LEVEL3_CACHE_SIZE);
  return info;
}

Result<CpuFeatures> limit_features(const CpuFeatures& available, const std::string& level) {
  if (level == "baseline") return CpuFeatures{};
  // "amx" is both of its parts.
  const std::string wanted = level == "amx" ? "amx_bf16" : level;
  CpuFeatures limited;
  for (const Level& l : kLevels) {
    limited.*l.feature = available.*l.feature;
    if (wanted != l.name) continue;
    if (available.*l.feature) return limited;
    return invalid_argument(
        fmt::format("this processor lacks {}; it has: {}", level, features_string(available)));
  }
  return invalid_argument(fmt::format(
      "unknown instruction set '{}'; expected baseline, avx2, avx_vnni, avx512, avx512_vnni, "
      "avx512_vbmi, avx512_bf16 or amx",
      level));
}

std::string features_string(const CpuFeatures& features) {
  std::string text;
  for (const Level& l : kLevels) {
    if (!(features.*l.feature)) continue;
    if (!text.empty()) text += ' ';
    text += l.name;
  }
  return text.empty() ? "baseline" : text;
}

}  // namespace pare
