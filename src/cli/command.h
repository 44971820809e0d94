// What a subcommand is. Each lives in one file, adds its options to CLI11 and returns a Status;
// only main.cc prints errors and turns them into exit codes (0 done, 1 failed, 2 wrong use).
//
// To add one: src/cli/<name>.cc with `Command make_<name>_command()`, and one line in commands.inc.
#ifndef PARE_CLI_COMMAND_H_
#define PARE_CLI_COMMAND_H_

#include <functional>
#include <string>

#include "pare/status.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11 calls it so
class App;
}

namespace pare {

struct Command {
  std::string name;
  std::string summary;   // one line, for `pare --help`
  std::string examples;  // shown under the command's own help, one command line each
  // Adds options to `app` and returns what runs after they have been read. What the options write
  // to is kept alive by the returned function.
  std::function<std::function<Status()>(CLI::App& app)> setup;
  bool listed = true;  // by `pare --help`
};

}  // namespace pare

#endif  // PARE_CLI_COMMAND_H_
