// Lowering for a GPU: from a prepared graph to a Program, node by node.
//
// Views, chains and constants follow the rules of runtime/lowering.h, from which this is derived;
// what computes is emitted as an operation of program.h. An operator without one is an error that
// names the node: nothing runs on the processor instead.
//
//   first use of the pixels   a convolution reads them channels-last, in the storage type, padded
//                             to four channels (InputOp); others as their contract says
//   flattening of an image    no copy: the columns of the dense layer's weights are put in the
//                             order in which the channels-last image lies in memory
//   floats                    in the storage type, but for the graph's outputs and constants
#ifndef PARE_GPU_LOWERING_H_
#define PARE_GPU_LOWERING_H_

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "pare/status.h"

#include "gpu/program.h"
#include "gpu/weights.h"
#include "graph/window.h"
#include "runtime/fusion.h"
#include "runtime/input_adapter.h"
#include "runtime/lowering.h"

namespace pare::gpu {

// What an executor can do beyond the plain operations.
struct ProgramOptions {
  // Transformers of a fitting size become one operation (encoder.h).
  bool encoders = false;
  // A convolution's first layer reads pixels sixteen bytes at a time (InputOp::neighbours), and a
  // constant that is the same for every image is added where a product ends
  // (ProductOp::residual_period).
  bool wide_pixels = false;
  bool periodic_residuals = false;
};

class Lowering final : public pare::Lowering {
 public:
  // `options.storage`: of floats. `graph` is prepared (runtime/planner.h) and has one input, images
  // as `adapter` converts them.
  Lowering(const Graph& graph, const Inference& inference, const Fusion& fusion,
           const PlanOptions& options, WeightStore& constants, WeightBlock& block,
           const InputAdapter& adapter, const ProgramOptions& target);

  Result<Program> lower_program();

  // Of the base class, in this target's way.
  Result<View> value(const std::string& name) override;
  Result<View> in_order(const View& view, const std::vector<int>& order,
                        const std::string& why) override;
  DType storage_type(const std::string& value) const override;
  DType residual_type(DType type) const override { return type; }
  DType chain_type(const std::string& value) const override { return storage_type(value); }
  std::vector<int> chain_order(std::vector<int> order) const override;
  Status emit_program(const Node& node, ElementwiseProblem problem, std::vector<View> views,
                      const View& dst) override;
  Status emit_table(const Node& node, const std::array<uint8_t, 256>& table, const View& src,
                    const View& dst) override;
  void emit(pare::Step step) override;

  // An operand whose offset names buffer and byte until all buffers have their places.
  Operand at(const View& view) const;
  // Adds an operation that reads and writes these views.
  template <typename Op>
  void push(const Op& op, StepInfo info, const std::vector<View>& reads, const View& write);
  // A copy of `src` to `dst` of the same shape, converting.
  Status emit_copy(const std::string& name, const View& src, const View& dst);
  WeightBlock& block() { return block_; }
  DType storage() const { return options().storage; }
  // The image that `name` flattens, where nobody needed the flat copy yet.
  const View* flattened(const std::string& name) const;
  // The pixels as a convolution reads them, `neighbours` together; nullopt when `name` is not the
  // graph's input. The view has the shape of the input, its strides those of wide pixels.
  std::optional<View> pixels(const std::string& name, DType type, int neighbours = 1);
  const ProgramOptions& target() const { return target_; }

 private:
  Status lower_node(size_t index) override;
  Status lower_reshape(const Node& node);
  Status lower_concat(const Node& node);
  Result<Program> resolve(Plan plan);

  WeightBlock& block_;
  const InputAdapter& adapter_;
  const ProgramOptions target_;
  Program program_;
  Status failure_;  // of an emission that returns nothing
  std::unordered_map<std::string, View> flattened_;
  std::map<std::pair<DType, int>, View> pixels_;  // by type and neighbours
};

// What convolutions and pooling say of their windows alike.
template <typename Op>
void set_window(Op& op, const Window& w) {
  op.out_h = static_cast<int32_t>(w.out_h);
  op.out_w = static_cast<int32_t>(w.out_w);
  op.kernel_h = static_cast<int32_t>(w.kernel_h);
  op.kernel_w = static_cast<int32_t>(w.kernel_w);
  op.stride_h = static_cast<int32_t>(w.stride_h);
  op.stride_w = static_cast<int32_t>(w.stride_w);
  op.dilation_h = static_cast<int32_t>(w.dilation_h);
  op.dilation_w = static_cast<int32_t>(w.dilation_w);
  op.pad_top = static_cast<int32_t>(w.pad_top);
  op.pad_left = static_cast<int32_t>(w.pad_left);
}

// lower_product.cc
Status lower_product(Lowering& lowering, const ProductGroup& group);
// lower_layers.cc
Status lower_rows(Lowering& lowering, const Node& node);
Status lower_attention(Lowering& lowering, const Node& node);
Status lower_pool(Lowering& lowering, const Node& node);
Status lower_reduce(Lowering& lowering, const Node& node);

// The program of a prepared graph for one batch size; constants go into `block`.
Result<Program> make_program(const Graph& graph, int64_t batch, DType storage,
                             const InputAdapter& adapter, WeightStore& constants,
                             WeightBlock& block, const ProgramOptions& target);

}  // namespace pare::gpu

#endif  // PARE_GPU_LOWERING_H_
