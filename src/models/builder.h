// GraphBuilder: what the model files write networks with.
//
// It appends ONNX nodes to a Graph, keeps each value's shape (without the number of images) so that
// a layer knows its inputs, and draws the initial weights. Names are stable and readable: node
// "conv1" writes the value "conv1" and reads "conv1.weight" and "conv1.bias".
//
// Random weights come from Rng(seed, kInit, FNV-1a of the tensor's name, block of 65,536 elements):
// they depend neither on the order of the layers nor on the number of threads.
#ifndef PARE_MODELS_BUILDER_H_
#define PARE_MODELS_BUILDER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "models/models.h"

namespace pare {

// How a weight starts. Fans are counted as in the papers: inputs (outputs) times kernel area.
enum class InitKind {
  kZero,
  kOne,
  kHeFanIn,        // normal, std = sqrt(2 / fan in): He et al. 2015, section 2.2
  kHeFanOut,       // normal, std = sqrt(2 / fan out): its backward case, used by ResNets
  kLecunNormal,    // normal cut at 2 std, std = sqrt(1 / fan in): LeCun et al. 1998
  kXavierUniform,  // uniform in ±sqrt(6 / (fan in + fan out)): Glorot and Bengio 2010
  // Normal, std = 0.1 sqrt(1 / fan in): the layer of the scores. They start near 0 and the loss
  // near log(classes), where He's start gave the ViT with its two dropouts a loss of 5.7 and an
  // epoch that only undid it.
  kScores,
  kMeanScores,  // normal, std = 1 / fan in: scores that are means of their features' products
  // Output channel i < fan in / area is input channel i, the others uniform in ±sqrt(1 / fan in):
  // for 3×3 convolutions that begin by handing on what they read (Zagoruyko, Komodakis 2017).
  kDirac,
  kNormal002,  // normal cut at 2 std, std = 0.02: position embeddings of Dosovitskiy et al. 2021
};

struct Init {
  InitKind kind = InitKind::kZero;
  int64_t fan_in = 1;
  int64_t fan_out = 1;
};

// A value in the graph and the shape of one image's part of it.
struct Value {
  std::string name;
  Shape shape;
};

struct ConvOptions {
  int64_t channels = 0;  // out
  int64_t kernel = 1;
  int64_t stride = 1;
  int64_t padding = 0;
  bool bias = true;
  InitKind init = InitKind::kHeFanIn;
};

struct PoolOptions {
  int64_t kernel = 2;
  int64_t stride = 2;
  int64_t padding = 0;
};

// Cut of a normal distribution at two standard deviations shrinks it: std of N(0, 1) given |x| <= 2
// is 0.8796; draws are divided by it so that the result has the standard deviation asked for.
inline constexpr float kTruncatedStd = 0.87962566F;

class GraphBuilder {
 public:
  // `own_size`: the image size when the options leave it open.
  GraphBuilder(std::string name, const ModelOptions& options, int64_t own_size, int64_t opset);

  int64_t image_size() const { return image_size_; }

  // uint8 [N, 3, size, size], cast, scaled and normalised: pixels / (255 std) - mean / std.
  Value image_input();

  Value conv(const std::string& name, const Value& x, const ConvOptions& options);
  // Batch norm in its inference form, epsilon 1e-5; the trainer knows what it means in training.
  // `kept`: share of the running statistics that a training step keeps.
  Value batch_norm(const std::string& name, const Value& x, float kept = 0.9F);
  Value relu(const std::string& name, const Value& x);
  Value gelu(const std::string& name, const Value& x);  // exact (erf); opset 20
  Value max_pool(const std::string& name, const Value& x, const PoolOptions& options);
  Value global_average_pool(const std::string& name, const Value& x);  // [C, H, W] -> [C]
  Value flatten(const std::string& name, const Value& x);
  Value dropout(const std::string& name, const Value& x, float ratio);
  Value add(const std::string& name, const Value& a, const Value& b);
  // y = x Wᵀ + b on [features]: Gemm with weights [out, in]; b can be left out.
  Value dense(const std::string& name, const Value& x, int64_t units,
              InitKind init = InitKind::kHeFanIn, bool bias = true);
  // y = x W + b on [tokens, features]: MatMul with weights [in, out], then Add. `fan_out`: 0 for
  // `units`; less where several projections share one matrix.
  Value token_dense(const std::string& name, const Value& x, int64_t units, int64_t fan_out = 0);
  Value layer_norm(const std::string& name, const Value& x, float epsilon);

  // Parts that the model files put together themselves.
  Value node(const std::string& op, const std::string& name, const std::vector<std::string>& inputs,
             Shape shape, std::map<std::string, Attribute> attributes = {});
  // Several outputs: "<name>.0", "<name>.1", ...
  std::vector<Value> node_with_outputs(const std::string& op, const std::string& name,
                                       const std::vector<std::string>& inputs,
                                       const std::vector<Shape>& shapes,
                                       std::map<std::string, Attribute> attributes);
  std::string weight(const std::string& name, Shape shape, const Init& init);
  std::string constant(const std::string& name, Tensor tensor);

  // Makes `x` the graph's only output, "logits", and gives the graph away. `x` must be the output
  // of the node added last.
  Result<Graph> finish(const Value& x);

 private:
  void fail(const std::string& what);
  void check_normalisation();
  void draw(Tensor& tensor, const std::string& name, const Init& init) const;

  Graph graph_;
  ModelOptions options_;
  int64_t image_size_ = 0;
  Status status_;
};

}  // namespace pare

#endif  // PARE_MODELS_BUILDER_H_
