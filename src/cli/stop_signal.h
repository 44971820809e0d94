// Ctrl-C as a wish: the first one asks a long command to stop where all is saved, the second ends
// the program at once.
#ifndef PARE_CLI_STOP_SIGNAL_H_
#define PARE_CLI_STOP_SIGNAL_H_

#include <atomic>

namespace pare {

// Takes SIGINT and SIGTERM from now on; the flag is set by the first of them, which also says so on
// stderr.
const std::atomic<bool>* take_stop_signals();

}  // namespace pare

#endif  // PARE_CLI_STOP_SIGNAL_H_
