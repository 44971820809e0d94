// Plan: a graph for one batch size, as a list of steps over one arena.
//
// A value of the graph lies in a buffer under a View: any strides, so that transposes, slices and
// reshapes cost nothing until a kernel needs its operand dense. Buffers are constants (weights),
// the plan's inputs, or parts of the arena whose offsets memory_plan.cc assigns by lifetime.
#ifndef PARE_RUNTIME_PLAN_H_
#define PARE_RUNTIME_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "base/tensor.h"
#include "base/thread_pool.h"

namespace pare {

struct View {
  int buffer = -1;
  DType type = DType::kFloat32;
  Shape shape;
  Shape strides;       // in elements; 0 where broadcast
  int64_t offset = 0;  // of the first element, in elements

  int64_t size() const { return element_count(shape); }
};

// The permutation of dimensions, outermost in memory first, in which a view's elements lie; ties
// and dimensions of size 1 keep their logical place.
std::vector<int> memory_order(const View& view);
// Strides of a dense array of `shape` whose memory runs through the dimensions in `order`.
Shape strides_in_order(const Shape& shape, const std::vector<int>& order);
// Whether the elements fill a contiguous range in the given order. Strides of dimensions of size 1
// do not matter.
bool is_dense_in(const View& view, const std::vector<int>& order);
bool is_dense(const View& view);  // row-major, as ONNX has it
std::vector<int> plain_order(int rank);
// N, spatial dimensions, C.
std::vector<int> channels_last_order(int rank);

struct Buffer {
  int64_t bytes = 0;
  Tensor constant;  // holds the bytes of a constant; empty otherwise
  bool is_constant = false;
  bool in_weight_store = false;  // a constant that other plans share
  int64_t arena_offset = 0;      // everything else
  // First and last step that touch it; inputs begin at -1, outputs end after the last step.
  int first = 0;
  int last = -1;
};

// What a step sees while it runs.
class StepContext {
 public:
  StepContext(std::span<std::byte* const> bases, std::span<std::byte> scratch, ThreadPool& pool)
      : bases_(bases), scratch_(scratch), pool_(pool) {}

  template <typename T = std::byte>
  T* data(const View& view, int64_t element = 0) const {
    std::byte* base = bases_[static_cast<size_t>(view.buffer)];
    return reinterpret_cast<T*>(base + (view.offset + element) * dtype_bits(view.type) / 8);
  }
  std::span<std::byte> scratch() const { return scratch_; }
  ThreadPool& pool() const { return pool_; }

 private:
  std::span<std::byte* const> bases_;
  std::span<std::byte> scratch_;
  ThreadPool& pool_;
};

// How a step runs a part of its rows, where each depends on the same row of its inputs alone
// (row_groups.h).
struct RowWork {
  int64_t rows = 0;  // 0: it does not
  // Of one thread for a block of so many rows.
  std::function<int64_t(int64_t count)> scratch_bytes;
  std::function<Status(const StepContext&, int64_t first, int64_t count)> run;
};

struct Step {
  LayerPlan layer;
  std::vector<int> reads;  // buffers
  std::vector<int> writes;
  int64_t scratch_bytes = 0;
  std::function<Status(const StepContext&)> run;
  RowWork by_rows;

  void run_by_rows(RowWork work) {
    run = [all = work.run, rows = work.rows](const StepContext& c) { return all(c, 0, rows); };
    by_rows = std::move(work);
  }
};

// Steps first … last - 1 run as one: each block of rows passes through all of them in one task.
struct RowGroup {
  int first = 0;
  int last = 0;
  int64_t rows = 0;
  int64_t blocks = 0;
  int threads = 1;
  int64_t scratch_bytes = 0;  // of each thread

  int64_t first_row(int64_t block) const { return rows * block / blocks; }
};

// A value to be shown after a step (Executor).
struct Tap {
  int after_step = 0;
  std::string name;
  View view;  // dense
};

struct Plan {
  int64_t batch = 0;
  std::vector<Step> steps;
  std::vector<RowGroup> row_groups;  // ascending, apart
  std::vector<Buffer> buffers;
  std::vector<View> inputs;   // dense, in the order of graph.inputs
  std::vector<View> outputs;  // dense, in the order of graph.outputs
  std::vector<Tap> taps;      // by after_step, ascending
  int64_t arena_bytes = 0;
  int64_t scratch_bytes = 0;
};

// Runs a plan, which several may share: owns the arena and the scratch memory of one run.
class PlanRunner {
 public:
  static Result<std::unique_ptr<PlanRunner>> create(std::shared_ptr<const Plan> plan);

  const Plan& plan() const { return *plan_; }
  std::byte* input(size_t i) { return pointer(plan_->inputs[i]); }
  const std::byte* output(size_t i) { return pointer(plan_->outputs[i]); }
  // Copies of the outputs of the last run.
  std::vector<Tensor> outputs() const;
  // `show` is called for each tap. With `times_us` not null, the microseconds of each step are
  // added to it.
  Status run(ThreadPool& pool,
             const std::function<Status(const std::string&, const Tensor&)>& show = {},
             std::vector<double>* times_us = nullptr);

 private:
  explicit PlanRunner(std::shared_ptr<const Plan> plan) : plan_(std::move(plan)) {}
  std::byte* pointer(const View& view) const;
  // Microseconds of each of the group's steps are added to `times_us` unless it is null.
  Status run_group(const RowGroup& group, ThreadPool& pool, double* times_us);
  Status show_taps(size_t& next, int step,
                   const std::function<Status(const std::string&, const Tensor&)>& show) const;

  std::shared_ptr<const Plan> plan_;
  Tensor arena_;
  Tensor scratch_;
  std::vector<std::byte*> bases_;
  ThreadPool inline_pool_{1};  // what a block of rows runs in: its own thread
};

}  // namespace pare

#endif  // PARE_RUNTIME_PLAN_H_
