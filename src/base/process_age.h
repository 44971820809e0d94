// How long this program has been running.
#ifndef PARE_BASE_PROCESS_AGE_H_
#define PARE_BASE_PROCESS_AGE_H_

#include <optional>

namespace pare {

// Seconds since the process was started, to a hundredth: a program that handed over to this one by
// exec counts, and so does the time the linker took. Nothing where the system does not say.
std::optional<double> process_age_s();

}  // namespace pare

#endif  // PARE_BASE_PROCESS_AGE_H_
