#include "runtime/executor.h"

#include <fmt/format.h>

#include <cstring>
#include <utility>

#include "runtime/planner.h"

namespace pare {

class Executor::Impl {
 public:
  Impl(std::unique_ptr<PlanRunner> runner, int threads, std::vector<std::string> input_names)
      : runner_(std::move(runner)), pool_(threads), input_names_(std::move(input_names)) {}

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs, const ShowValue& show) {
    const Plan& plan = runner_->plan();
    if (inputs.size() != plan.inputs.size()) {
      return invalid_argument(fmt::format("the graph has {} inputs, {} tensors were given",
                                          plan.inputs.size(), inputs.size()));
    }
    for (size_t i = 0; i < inputs.size(); ++i) {
      const View& want = plan.inputs[i];
      if (inputs[i].type() != want.type || inputs[i].shape() != want.shape) {
        return invalid_argument(fmt::format("input '{}' must be {} of {}, found {} of {}",
                                            input_names_[i], dtype_name(want.type),
                                            shape_string(want.shape), dtype_name(inputs[i].type()),
                                            shape_string(inputs[i].shape())));
      }
      std::memcpy(runner_->input(i), inputs[i].data(), static_cast<size_t>(inputs[i].byte_count()));
    }
    PARE_RETURN_IF_ERROR(runner_->run(pool_, show));
    return runner_->outputs();
  }

 private:
  std::unique_ptr<PlanRunner> runner_;
  ThreadPool pool_;
  std::vector<std::string> input_names_;
};

Executor::Executor(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Executor::Executor(Executor&&) noexcept = default;
Executor& Executor::operator=(Executor&&) noexcept = default;
Executor::~Executor() = default;

namespace {

Status check_kept(const Graph& graph, const std::vector<std::string>& keep) {
  const GraphIndex index(graph);
  for (const std::string& name : keep) {
    bool known = index.producer(name) >= 0;
    for (const ValueInfo& input : graph.inputs) known = known || input.name == name;
    if (!known) return not_found("the graph has no node output or input named '" + name + "'");
  }
  return ok_status();
}

}  // namespace

Result<Executor> Executor::create(const Graph& graph, const ExecutorOptions& options) {
  PARE_RETURN_IF_ERROR(check_kept(graph, options.keep));
  PlanOptions plan_options;
  plan_options.batch = options.batch;
  plan_options.threads = options.threads > 0 ? options.threads : available_cores();
  PARE_ASSIGN_OR_RETURN(plan_options.kernels,
                        kernel_request(options.cpu_level, options.reference_kernels));
  PARE_ASSIGN_OR_RETURN(plan_options.storage, storage_type(options.precision));
  plan_options.keep = options.keep;
  plan_options.keep_all = options.keep_all;
  WeightStore weights;
  PARE_ASSIGN_OR_RETURN(PlannedGraph planned, make_plan(graph, plan_options, weights));
  PARE_ASSIGN_OR_RETURN(auto runner, PlanRunner::create(std::move(planned.plan)));
  std::vector<std::string> names;
  for (const ValueInfo& input : graph.inputs) names.push_back(input.name);
  return Executor(
      std::make_unique<Impl>(std::move(runner), plan_options.threads, std::move(names)));
}

Result<std::vector<Tensor>> Executor::run(std::span<const Tensor> inputs, const ShowValue& show) {
  return impl_->run(inputs, show);
}

}  // namespace pare
