// What eval, bench, run and explain share: a model file with its session, and the flags that say
// how it is run.
#ifndef PARE_CLI_MEASURED_MODEL_H_
#define PARE_CLI_MEASURED_MODEL_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "graph/graph.h"
#include "records/schema.h"

namespace pare {

// --precision, --device and --cpu-level.
void add_session_flags(CLI::App& app, SessionOptions& options);
// --threads N, 0 for all cores.
void add_threads_flag(CLI::App& app, SessionOptions& options);

struct MeasuredModel {
  std::string name;  // as the command line gave it
  Graph graph;
  // The graph's, with the size of its input where the file states no contract.
  InputContract contract;
  SessionOptions options;
  Session session;
  ModelIdentity id;
  std::string precision;  // what it computes in
};

// Says on stderr that a floating input is fed in the usual way, where the file does not state one.
void warn_of_assumed_preparation(const std::string& name, const InputContract& contract);

// `name`: a file, or one of the zoo (model_argument.h). In the result options.device is the one
// that "auto" came to.
Result<MeasuredModel> load_measured_model(const std::string& name, SessionOptions options);

// Before the first of them is loaded: whether they are all there.
Status check_models(const std::vector<std::string>& names);

}  // namespace pare

#endif  // PARE_CLI_MEASURED_MODEL_H_
