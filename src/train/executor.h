// TorchExecutor: runs a Graph through LibTorch, with gradients for its weights.
//
// It owns one LibTorch tensor for every initializer. What is learned is read off the graph
// (find_learned): weights and biases of convolutions and dense layers, scales and shifts of
// normalisations, embeddings; not the constants that scale pixels, nor single numbers such as an
// epsilon. The running statistics of batch normalisation are buffers: training updates them without
// a gradient. Four-dimensional activations and weights are channels-last inside.
#ifndef PARE_TRAIN_EXECUTOR_H_
#define PARE_TRAIN_EXECUTOR_H_

#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "train/cuda/gpu_tools.h"
#include "train/gpu_chains.h"
#include "train/operators.h"
#include "train/tensors.h"
#include "train/torch.h"

namespace pare {

struct LearnedTensor {
  std::string name;  // the initializer
  bool decay =
      false;  // a weight that is multiplied: weight decay applies; not to biases and scales
};

struct LearnedTensors {
  std::vector<LearnedTensor> parameters;  // in the order in which the nodes read them
  std::vector<std::string> buffers;       // running means and variances
};
LearnedTensors find_learned(const Graph& graph);

struct TorchExecutorOptions {
  at::Device device = at::kCPU;
  bool trainable = true;  // false: no gradients, any floating type, as for a teacher
  // Learned weights that training leaves as they are (base/glob.h); they count as buffers.
  std::vector<std::string> frozen = {};
};

class TorchExecutor {
 public:
  // Errors: an operator that training lacks is named with its node; learned weights that are not
  // float32 are refused.
  static Result<TorchExecutor> create(const Graph& graph, const TorchExecutorOptions& options = {});

  // The graph's first output for its one input. What does not fit is named with its node.
  Result<at::Tensor> forward(const at::Tensor& input, const RunMode& mode);

  struct Named {
    std::string name;
    at::Tensor value;
    bool decay = false;
    at::Tensor copy;  // what forward() reads instead; undefined: the value itself

    // Of the last backward pass: of what forward() read.
    const at::Tensor& gradient() const { return copy.defined() ? copy.grad() : value.grad(); }
    void drop_gradient() const {
      value.mutable_grad() = at::Tensor();
      if (copy.defined()) copy.mutable_grad() = at::Tensor();
    }
  };
  // From now on convolutions and matrix products read bfloat16 copies of their weights, which are
  // made here, and the gradients are those of the copies. Who changes weights changes the copies
  // too, or calls refresh_copies().
  void keep_copies();
  void refresh_copies();
  // From now on what gpu_chains.h finds is run at once by our kernels, where autocast and batch
  // statistics are on and the kernels serve. `tools` must outlive it.
  void use_gpu_layers(GpuTools& tools);

  const std::vector<Named>& parameters() const { return parameters_; }
  // nullptr: no learned weight has that name.
  const Named* parameter(const std::string& name) const;
  const std::vector<Named>& buffers() const { return buffers_; }
  const Graph& source() const { return graph_; }

  // The graph with the weights as they are now.
  Result<Graph> to_graph(const FromTorchOptions& options = {}) const;

 private:
  struct Step {
    OperatorFunction function;
    int node;
    std::vector<int> inputs;  // value numbers; -1 for one left out
    std::vector<int> outputs;
    std::vector<int> last_read;  // values that nothing reads after this step
    // Of a chain: its nodes one by one. The step itself then has no function.
    std::vector<Step> members = {};
    GpuChain chain = NormChain();
  };

  TorchExecutor() = default;
  int number_of(const std::string& value);
  Status load_initializers(const TorchExecutorOptions& options);
  Status plan_steps();
  void plan_releases();
  Status run_step(const Step& step, std::vector<at::Tensor>& values, const RunMode& mode) const;
  Status run_members(const Step& step, std::vector<at::Tensor>& values, const RunMode& mode) const;
  static const at::Tensor& input_of(const Step& step, size_t i,
                                    const std::vector<at::Tensor>& values) {
    return values[static_cast<size_t>(step.inputs[i])];
  }
  OperatorResult run_product(const Step& step, std::vector<at::Tensor> inputs,
                             const RunMode& mode) const;
  void use_pixel_path();
  bool takes_pixels(const at::Tensor& input, const RunMode& mode) const;
  bool is_pixel_step(const Step& step) const;
  Result<bool> run(const NormChain& chain, const Step& step, std::vector<at::Tensor>& values,
                   const RunMode& mode) const;
  Result<bool> run(const DenseChain& chain, const Step& step, std::vector<at::Tensor>& values,
                   const RunMode& mode) const;
  Result<bool> run(const AttentionChain& chain, const Step& step, std::vector<at::Tensor>& values,
                   const RunMode& mode) const;
  Result<bool> run(const LayerNormChain& chain, const Step& step, std::vector<at::Tensor>& values,
                   const RunMode& mode) const;
  static Step chain_step(const GpuChain& chain, std::vector<Step> members);

  Graph graph_;
  std::unordered_map<std::string, int> numbers_;
  std::vector<at::Tensor> constants_;  // by value number; undefined where a run writes the value
  std::vector<Step> steps_;
  std::vector<Named> parameters_;
  std::vector<Named> buffers_;
  int input_ = -1;
  int output_ = -1;

  GpuTools* tools_ = nullptr;
  // What pixel_conv() stands for; the constants as it wants them.
  std::optional<PixelPath> pixel_path_;
  at::Tensor pixel_scale_, pixel_shift_;
};

// Whether this processor multiplies bfloat16 itself; without that, autocast only costs time.
bool has_fast_bfloat16();

}  // namespace pare

#endif  // PARE_TRAIN_EXECUTOR_H_
