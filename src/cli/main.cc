// pare, and pare-train (trainer.h): reads the command line, runs one subcommand, prints its error
// if it has one.

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstdio>
#include <exception>
#include <functional>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "base/build_info.h"
#include "cli/command.h"
#include "cli/trainer.h"
#include "cli/usage.h"

namespace pare {

#define PARE_COMMAND(name) Command make_##name##_command();
#include "cli/commands.inc"
#undef PARE_COMMAND

namespace {

std::vector<Command> all_commands() {
  return {
#define PARE_COMMAND(name) make_##name##_command(),
#include "cli/commands.inc"
#undef PARE_COMMAND
  };
}

int exit_code(const Status& status) {
  if (status.ok()) return 0;
  return status.code() == StatusCode::kInvalidArgument ? 2 : 1;
}

// What a command printed must have arrived: a full disk behind stdout is a failure like any other.
Status finish(const std::function<Status()>& command) {
  try {
    PARE_RETURN_IF_ERROR(command());
  } catch (const std::bad_alloc&) {
    return out_of_memory("no memory left");
  } catch (const std::system_error& error) {  // fmt::print, when the operating system refuses
    return io_error(std::string("standard output: ") + error.code().message());
  } catch (const std::exception& error) {  // a library's, where none is known to throw
    return internal_error(error.what());
  }
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return ok_status();
  return io_error("standard output: " + std::generic_category().message(errno));
}

int report(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "pare: %s\n", status.message().c_str());
  return exit_code(status);
}

int run(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == kTrainCommand) {
    const Status status = finish(hand_over_training);  // its options are pare-train's to read
    if (!status.ok()) return report(status);
  }
  CLI::App app("Pare makes image classifiers small and fast, and proves what it cost.", "pare");
  app.set_version_flag("--version", "pare " + build_version() + " (" + build_commit() + ")");
  app.require_subcommand(1);
  app.footer("Run `pare COMMAND --help` for a command's options and examples.");

  std::function<Status()> chosen;
  for (Command& command : all_commands()) {
    CLI::App* sub = app.add_subcommand(command.name, command.summary);
    if (!command.listed) sub->group("");
    if (!command.examples.empty()) sub->footer("Examples:\n" + command.examples);
    sub->callback([&chosen, body = command.setup(*sub)] { chosen = body; });
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error);  // --help and --version
    std::fprintf(stderr, "pare: %s\n", usage_line(app, error).c_str());
    return 2;
  }
  return report(finish(chosen));
}

}  // namespace
}  // namespace pare

int main(int argc, char** argv) { return pare::run(argc, argv); }
