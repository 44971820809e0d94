// What the program says to a command line that it cannot read: one line, with a hint.
#ifndef PARE_CLI_USAGE_H_
#define PARE_CLI_USAGE_H_

#include <CLI/CLI.hpp>
#include <string>

namespace pare {

// "no option is called --bach; did you mean --batch? (`pare bench --help` lists them)"
std::string usage_line(const CLI::App& app, const CLI::ParseError& error);

}  // namespace pare

#endif  // PARE_CLI_USAGE_H_
