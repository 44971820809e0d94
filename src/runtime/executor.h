// Executor: runs any Graph on given tensors and shows intermediate values, one after the other.
//
// For calibration, comparison, constant folding and tests. It is the Session's own plan, except
// that no fusion swallows a value that is to be shown; values are handed out while the plan runs
// and the memory is reused behind them, so showing every value of a large batch needs no more
// memory than the arena and one value.
#ifndef PARE_RUNTIME_EXECUTOR_H_
#define PARE_RUNTIME_EXECUTOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/tensor.h"
#include "graph/graph.h"

namespace pare {

struct ExecutorOptions {
  int64_t batch = 1;  // put in place of kDynamic
  int threads = 0;    // 0: all cores
  // Values (node outputs or graph inputs) that run() shows. Unknown names are an error.
  std::vector<std::string> keep;
  bool keep_all = false;           // every node's output
  bool reference_kernels = false;  // the slow, exact references everywhere
  std::string cpu_level;           // as in SessionOptions
  std::string precision = "float32";
};

class Executor {
 public:
  // Errors name the node: an operator that is unknown or lacks a kernel, shapes that do not fit.
  static Result<Executor> create(const Graph& graph, const ExecutorOptions& options = {});
  Executor(Executor&&) noexcept;
  Executor& operator=(Executor&&) noexcept;
  ~Executor();

  // Called once for each kept value, in the order of the graph's nodes, with the value as ONNX has
  // it (NCHW, dense). The tensor's memory is valid during the call only: copy what is to be kept.
  // A failure stops the run and is returned.
  using ShowValue = std::function<Status(const std::string& name, const Tensor& value)>;

  // `inputs`: one tensor for each of graph.inputs, in that order, of exactly its type and shape.
  // Returns the outputs in the order of graph.outputs.
  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs, const ShowValue& show = {});

 private:
  class Impl;
  explicit Executor(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare

#endif  // PARE_RUNTIME_EXECUTOR_H_
