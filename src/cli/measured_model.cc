#include "cli/measured_model.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <utility>

#include "cli/model_argument.h"
#include "cli/usage.h"
#include "graph/model_file.h"
#include "measure/subject.h"

namespace pare {

void add_session_flags(CLI::App& app, SessionOptions& options) {
  app.add_option("--precision", options.precision,
                 "Storage of float layers: float32, bfloat16 or float16; tf32, on a GPU: float32 "
                 "whose products are rounded to TF32")
      ->check(one_of({"float32", "bfloat16", "float16", "tf32"}))
      ->capture_default_str();
  app.add_option("--device", options.device,
                 "Where it runs: cpu, cuda, or auto (cuda where there is one)")
      ->check(one_of({"cpu", "cuda", "auto"}))
      ->capture_default_str();
  app.add_option("--cpu-level", options.cpu_level,
                 "Highest instruction set: baseline, avx2, avx_vnni, avx512, avx512_vnni, "
                 "avx512_vbmi, avx512_bf16, amx; the processor's own without it");
}

void add_threads_flag(CLI::App& app, SessionOptions& options) {
  app.add_option("--threads", options.threads, "Threads; 0: all cores")
      ->check(whole_number(0, 1024))
      ->capture_default_str();
}

void warn_of_assumed_preparation(const std::string& name, const InputContract& contract) {
  if (contract.height != 0 || !contract.float_input) return;
  fmt::print(stderr,
             "warning: {} does not say how its images are prepared: pixels / 255 are taken, and "
             "pictures stretched to its size; state it with pare import\n",
             name);
}

namespace {

// With "auto", the GPU where it serves; else the processor, and one line that says why.
Result<Session> open_session(const Graph& graph, SessionOptions& options) {
  if (options.device != "auto") return Session::from_graph(graph, options);
  options.device = "cuda";
  Result<Session> session = Session::from_graph(graph, options);
  if (session.ok() || session.status().code() != StatusCode::kUnsupported) return session;
  fmt::print(stderr, "on the processor: {}\n", session.status().message());
  options.device = "cpu";
  return Session::from_graph(graph, options);
}

}  // namespace

Result<MeasuredModel> load_measured_model(const std::string& name, SessionOptions options) {
  PARE_ASSIGN_OR_RETURN(const std::string path, model_path(name));
  PARE_ASSIGN_OR_RETURN(Graph graph, load_model(path));
  PARE_ASSIGN_OR_RETURN(ModelIdentity id, identify_model(path, graph));
  id.model = name;
  Result<Session> session = open_session(graph, options);
  if (!session.ok()) return session.status().with_context(name);
  warn_of_assumed_preparation(name, graph.contract);
  InputContract contract = graph.contract;
  contract.channels = session->info().channels;
  contract.height = session->info().height;
  contract.width = session->info().width;
  std::string precision = precision_of(graph, options.precision);
  return MeasuredModel{
      path,          std::move(graph),    std::move(contract), options, *std::move(session),
      std::move(id), std::move(precision)};
}

Status check_models(const std::vector<std::string>& names) {
  for (const std::string& name : names) {
    PARE_ASSIGN_OR_RETURN(const std::string path, model_path(name));
    PARE_RETURN_IF_ERROR(check_model_file(path));
  }
  return ok_status();
}

}  // namespace pare
