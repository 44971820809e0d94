// What training does on a GPU beyond LibTorch's own operators: graphs of launches, copies that
// nobody waits for, and kernels of our own. The part that includes CUDA is a module of its own,
// libpare-train-cuda.so, which is loaded where there is a GPU (device.h); this is all the trainer
// knows of it.
//
// The functions throw what LibTorch throws (c10::Error).
#ifndef PARE_TRAIN_CUDA_GPU_TOOLS_H_
#define PARE_TRAIN_CUDA_GPU_TOOLS_H_

#include <ATen/core/Tensor.h>
#include <c10/util/intrusive_ptr.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "data/augment_draw.h"
#include "train/cuda/update_rule.h"

namespace c10d {
class Backend;
class Store;
}  // namespace c10d

namespace pare {

// Launches that were recorded once and are repeated as a whole.
class GpuGraph {
 public:
  virtual ~GpuGraph() = default;
  virtual void replay() = 0;
};

// A ring of page-locked buffers: what is written into one goes to the GPU while the CPU goes on.
class GpuUpload {
 public:
  virtual ~GpuUpload() = default;
  // The next buffer. Waits if all are still on their way.
  virtual std::byte* next() = 0;
  // Copies the first `bytes` of the buffer that next() gave to `target` (uint8, on the GPU), in the
  // order of the stream.
  virtual void send(const at::Tensor& target, int64_t bytes) = 0;
};

// Numbers on their way back.
class GpuReadback {
 public:
  virtual ~GpuReadback() = default;
  // Copies `source` (float64) as it will be when all work so far is done.
  virtual void request(const at::Tensor& source) = 0;
  // Whether what was requested last is here; `wait`: until it is. False if nothing was requested.
  virtual bool arrived(bool wait) = 0;
  virtual double value(int i) const = 0;
};

// How long the GPU worked between the begins and ends of a loop, by its own clock.
class GpuClock {
 public:
  virtual ~GpuClock() = default;
  virtual void begin() = 0;
  virtual void end() = 0;
  // Of all that has ended; `wait`: for what has not.
  virtual double seconds(bool wait) = 0;
};

// A weight and what belongs to it, all of one memory layout; undefined where there is none.
struct UpdateTensors {
  const at::Tensor& weight;  // float32
  const at::Tensor& gradient;
  const at::Tensor& first;
  const at::Tensor& second;
  const at::Tensor& step;
  const at::Tensor& average;
  const at::Tensor& copy;  // bfloat16
  float decay = 0;
  float rate_share = 1;  // of the step's rate
};

// One kernel that takes one step of all weights, moves their running averages along and writes
// their bfloat16 copies.
class GpuUpdate {
 public:
  virtual ~GpuUpdate() = default;
  // May be called while launches are being recorded; the table goes to the GPU with publish().
  virtual void begin() = 0;
  virtual void add(const UpdateTensors& tensors) = 0;
  virtual void publish() = 0;
  // `scalars`: an UpdateScalars in the GPU's memory. `gradient_scale`: one float32 by which all
  // gradients are multiplied, or undefined.
  virtual void launch(const UpdateRule& rule, const at::Tensor& scalars,
                      const at::Tensor& gradient_scale) = 0;
};

// One batch for the augmentation kernel. The tensors lie on the GPU.
struct AugmentCall {
  const at::Tensor& images;     // uint8 [all, C, H, W]
  const at::Tensor& positions;  // int32 [count]
  const at::Tensor& draws;      // count ImageDraw, as bytes
  const at::Tensor& mix;        // one BatchDraw, as bytes
  const at::Tensor& out;        // uint8 [count, C, H, W]
  PixelWork work;
};

// Batch norm by the batch's statistics, with the ReLU and the max pooling behind it.
struct NormCall {
  at::Tensor x;  // bfloat16 [N, C, H, W] with the channels last, or [N, C]; C a multiple of 8
  at::Tensor gamma, beta;  // float32 [C]
  at::Tensor bias;         // of the layer before, which left it out; or undefined
  at::Tensor running_mean, running_variance;  // are moved along
  double epsilon = 1e-5;
  double momentum = 0.1;  // share of the batch in the running statistics
  bool relu = false;
  int window = 0;  // of the pooling, square and without padding; 0: none
  int stride = 0;
};
struct NormResult {
  at::Tensor y;
  at::Tensor mean, invstd, places;  // for the way back
};
struct NormGradients {
  at::Tensor x, gamma, beta;
};

// Layer norm over the last dimension.
struct LayerNormCall {
  at::Tensor x;            // float32 or bfloat16, row-major
  at::Tensor gamma, beta;  // float32, of the last dimension's size
  double epsilon = 1e-5;
};
struct LayerNormResult {
  at::Tensor y;             // bfloat16, as x
  at::Tensor mean, invstd;  // float32, one for each row
};

// Pixels normalised and unfolded along the width for a first convolution (cuda/pixels.cu).
struct UnfoldCall {
  at::Tensor pixels;                          // uint8 [N, C, H, W], row-major
  at::Tensor scale, shift;                    // float32 [C]
  int64_t taps = 1, stride = 1, padding = 0;  // of the convolution along the width
  int64_t out_width = 1;
  int64_t out_channels = 8;  // at least taps · C, a multiple of 8
};

class GpuTools {
 public:
  virtual ~GpuTools() = default;

  // Between enter() and leave() the calling thread works on a stream of its own, as recording
  // needs. Calls may be nested.
  virtual void enter() = 0;
  virtual void leave() = 0;
  virtual void synchronise() = 0;
  virtual int64_t free_bytes() = 0;

  // Records what `work` launches, without running it. What throws in it is thrown on, and leaves
  // everything as if nothing had been tried. Graphs must be replayed in the order in which they
  // were recorded, for they share their memory.
  virtual std::unique_ptr<GpuGraph> record(const std::function<void()>& work) = 0;

  virtual std::unique_ptr<GpuUpload> make_upload(int64_t bytes, int buffers) = 0;
  virtual std::unique_ptr<GpuReadback> make_readback(int numbers) = 0;
  virtual std::unique_ptr<GpuClock> make_clock() = 0;
  // `sizes`: of the weights, in the order in which they will be added.
  virtual std::unique_ptr<GpuUpdate> make_update(const std::vector<int64_t>& sizes) = 0;

  // Sums over the GPUs of `size` programs, which meet in the store; null where it was built
  // without.
  virtual c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store,
                                                      int rank, int size) = 0;

  virtual void augment(const AugmentCall& call) = 0;

  // bfloat16 [N, out_channels, H, out_width], channels last.
  virtual at::Tensor unfold_pixels(const UnfoldCall& call) = 0;

  // Whether there is a kernel for a last dimension of this size.
  virtual bool has_layer_norm(int64_t size) = 0;
  virtual LayerNormResult layer_norm_forward(const LayerNormCall& call) = 0;
  virtual NormGradients layer_norm_backward(const LayerNormCall& call,
                                            const LayerNormResult& result,
                                            const at::Tensor& y_gradient) = 0;

  virtual NormResult norm_forward(const NormCall& call) = 0;
  // `y_gradient` lies as y does.
  virtual NormGradients norm_backward(const NormCall& call, const NormResult& result,
                                      const at::Tensor& y_gradient) = 0;
};

// What the module exports, by this name and as a plain C function.
using GpuToolsFunction = GpuTools* (*)();
constexpr const char* kGpuToolsFunction = "pare_gpu_tools";
constexpr const char* kGpuModule = "libpare-train-cuda.so";

}  // namespace pare

#endif  // PARE_TRAIN_CUDA_GPU_TOOLS_H_
