// This machine and this process, by words that others can tell apart.
#ifndef PARE_BASE_HOST_H_
#define PARE_BASE_HOST_H_

#include <string>

namespace pare {

// "unknown host" where the system does not say.
std::string host_name();

// No two calls give the same, on no two hosts: host, process, time and a count.
std::string unique_word();

}  // namespace pare

#endif  // PARE_BASE_HOST_H_
