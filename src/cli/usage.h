// What the program says to a command line that it cannot read: one line, with a hint.
//
// Numbers are checked here and not by CLI::Range, which calls text "not in range".
#ifndef PARE_CLI_USAGE_H_
#define PARE_CLI_USAGE_H_

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace pare {

// "no option is called --bach; did you mean --batch? (`pare bench --help` lists them)"
std::string usage_line(const CLI::App& app, const CLI::ParseError& error);

// "--batch: expected a whole number from 1 to 65536, found 'x'"
CLI::Validator whole_number(int64_t low, int64_t high);
// Without bounds any number, but nan.
CLI::Validator number(double low = -HUGE_VAL, double high = HUGE_VAL);
// "--device: expected cpu, cuda or auto, found 'gpu'; did you mean cpu?"
CLI::Validator one_of(std::vector<std::string> words);

}  // namespace pare

#endif  // PARE_CLI_USAGE_H_
