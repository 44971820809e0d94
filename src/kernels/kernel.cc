#include "kernels/kernel.h"

namespace pare {
namespace {

struct IsaName {
  IsaBits bit;
  bool CpuFeatures::*field;
  const char* name;
};

constexpr IsaName kNames[] = {
    {kIsaAvx2, &CpuFeatures::avx2, "avx2"},
    {kIsaAvxVnni, &CpuFeatures::avx_vnni, "avx_vnni"},
    {kIsaAvx512, &CpuFeatures::avx512, "avx512"},
    {kIsaAvx512Vnni, &CpuFeatures::avx512_vnni, "avx512_vnni"},
    {kIsaAvx512Vbmi, &CpuFeatures::avx512_vbmi, "avx512_vbmi"},
    {kIsaAvx512Bf16, &CpuFeatures::avx512_bf16, "avx512_bf16"},
    {kIsaAmxInt8, &CpuFeatures::amx_int8, "amx_int8"},
    {kIsaAmxBf16, &CpuFeatures::amx_bf16, "amx_bf16"},
};

}  // namespace

IsaBits isa_bits(const CpuFeatures& features) {
  IsaBits bits = 0;
  for (const IsaName& n : kNames) {
    if (features.*(n.field)) bits |= n.bit;
  }
  return bits;
}

std::string isa_string(IsaBits bits) {
  std::string s;
  for (const IsaName& n : kNames) {
    if ((bits & n.bit) == 0) continue;
    if (!s.empty()) s += ' ';
    s += n.name;
  }
  return s.empty() ? "baseline" : s;
}

namespace detail {

std::string missing_isa(IsaBits needs, IsaBits have) {
  const IsaBits missing = needs & ~have;
  return missing == 0 ? "" : "needs " + isa_string(missing);
}

void append_refusal(std::string& reason, const char* name, std::string_view why) {
  reason += name;
  reason += ": ";
  reason += why;
  reason += "; ";
}

Status no_such_kernel(std::string_view family, std::string_view forced) {
  return invalid_argument(std::string(family) + ": no kernel is named '" + std::string(forced) +
                          "'");
}

Status forced_kernel_refuses(std::string_view forced, std::string_view why) {
  return invalid_argument("kernel '" + std::string(forced) +
                          "' cannot run here: " + std::string(why));
}

}  // namespace detail
}  // namespace pare
