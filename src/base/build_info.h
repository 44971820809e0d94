// Which Pare this is: what `pare --version` prints and every record carries.
#ifndef PARE_BASE_BUILD_INFO_H_
#define PARE_BASE_BUILD_INFO_H_

#include <string>

namespace pare {

// "0.1.0"
std::string build_version();
// The commit built from, 12 digits, with "+changes" if the tree had uncommitted ones; "unknown"
// outside a git checkout.
std::string build_commit();

}  // namespace pare

#endif  // PARE_BASE_BUILD_INFO_H_
