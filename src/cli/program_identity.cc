#include "cli/program_identity.h"

#include "base/build_info.h"
#include "base/file.h"

namespace pare {

Result<std::string> program_identity() {
  const std::string commit = build_commit();
  if (commit != "unknown" && commit.find('+') == std::string::npos) return commit;
  PARE_ASSIGN_OR_RETURN(const std::string hash, hash_file("/proc/self/exe"));
  return commit + " " + hash;
}

}  // namespace pare
