#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/utsname.h>

#include <chrono>

#include "base/build_info.h"
#include "base/cpu_features.h"
#include "records/record.h"

namespace pare {

Json current_context() {
  const CpuInfo cpu = detect_cpu();
  utsname system{};
  const bool known = uname(&system) == 0;
  const auto now =
      std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now());
  return {{"processor", cpu.model},
          {"cores", cpu.cores},
          {"instruction_sets", features_string(cpu.features)},
          {"system", known ? fmt::format("{} {} {}", system.sysname, system.release, system.machine)
                           : "unknown"},
          {"version", build_version()},
          {"commit", build_commit()},
          {"date", fmt::format("{:%Y-%m-%dT%H:%M:%SZ}", now)}};
}

}  // namespace pare
