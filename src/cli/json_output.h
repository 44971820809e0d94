// JSON as every command prints it.
#ifndef PARE_CLI_JSON_OUTPUT_H_
#define PARE_CLI_JSON_OUTPUT_H_

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace pare {

// Indented, on stdout. File names and the names in a model need not be UTF-8, which JSON is: they
// are printed with replacement characters.
template <typename Json>
void print_indented(const Json& json) {
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace pare

#endif  // PARE_CLI_JSON_OUTPUT_H_
