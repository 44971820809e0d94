// The model that a command line names: a file, or one that comes with Pare.
#ifndef PARE_CLI_MODEL_ARGUMENT_H_
#define PARE_CLI_MODEL_ARGUMENT_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

// The path to load: `argument` itself where it is a file or looks like one (an ending, a slash),
// else zoo/<argument>.pare. An unknown name lists those there are.
Result<std::string> model_path(const std::string& argument);

// The same as an option's transform: app.add_option("model", ...)->transform(model_argument()).
CLI::Validator model_argument();

// Before minutes of work: can a model be written there, as .onnx or .pare?
Status check_model_output(const std::string& path);

// The zoo's models, sorted; empty when it is not installed.
std::vector<std::string> zoo_names();

}  // namespace pare

#endif  // PARE_CLI_MODEL_ARGUMENT_H_
