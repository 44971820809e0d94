// Which program this is, for results that another one would not take over.
#ifndef PARE_CLI_PROGRAM_IDENTITY_H_
#define PARE_CLI_PROGRAM_IDENTITY_H_

#include <string>

#include "pare/status.h"

namespace pare {

// A commit names a program, except where the tree had changes: then its bytes do.
Result<std::string> program_identity();

}  // namespace pare

#endif  // PARE_CLI_PROGRAM_IDENTITY_H_
