// Program: a graph for one batch size as a flat list of operations on device memory.
//
// Everything an operation needs stands in its descriptor, plain data that a kernel takes as an
// argument or reads from device memory. Operations run one after the other in the order of
// Program::steps; an executor may overlap them where they share no memory.
//
// Memory. An Operand is a byte offset into one of four spaces: the pixels handed in, the scores
// handed out, the arena (activations, whose offsets the memory plan has fixed) and the weights, one
// block that is uploaded once. Every offset is a multiple of kAlignment except those of views into
// the middle of a value.
//
// Activations of four dimensions lie as N, H, W, C; everything else in row-major order. Floats are
// stored in Program::storage; products add up in float32, or int32 for bytes.
#ifndef PARE_GPU_PROGRAM_H_
#define PARE_GPU_PROGRAM_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "kernels/elementwise/loops.h"
#include "kernels/epilogue.h"

namespace pare::gpu {

inline constexpr int64_t kAlignment = 64;  // bytes

enum class Space : uint8_t { kNone, kInput, kOutput, kArena, kWeights };

struct Operand {
  int64_t offset = 0;  // bytes
  Space space = Space::kNone;
  DType type = DType::kFloat32;
};

// How an operation's floats become 8-bit codes: round_clamp(v / scale, zero_point, lo, hi)
// (base/rounding.h). Meaningless where the destination is a float.
struct Rounding {
  float scale = 1.0F;
  int32_t zero_point = 0;
  int32_t lo = 0;
  int32_t hi = 255;
};

// Uint8 pixels [batch, channels, height, width] -> [batch, height, width, neighbours, slot] of
// dst.type: each pixel with its neighbours to the right, `slot` channels each. Channels from
// `channels` on and neighbours outside the image are zero.
struct InputOp {
  Operand src;
  Operand dst;
  // Float32 [channels][256], what each pixel code stands for; kNone: the code itself.
  Operand table;
  int32_t batch = 0;
  int32_t channels = 0;
  int32_t height = 0;
  int32_t width = 0;
  int32_t slot = 0;
  int32_t neighbours = 1;         // in one pixel of dst, itself among them
  int32_t reversed_channels = 0;  // 1: channel c of dst is channels - 1 - c of src (BGR)
};

// Convolutions and dense layers with constant weights; a dense layer is a 1x1 convolution of images
// of one pixel.
//
//   y[m, n] = sum over k of x[m, k] w[n, k],   then the epilogue of kernels/epilogue.h
//
// m is the output pixel (image, then row, then column), n the output channel, k = (kernel row,
// kernel column, channel of the group), channel innermost. Pixel (i, h, w) of the source starts at
// element i * image_stride + (h * in_w + w) * pixel_stride of it; outside the image each channel is
// pad_value. Row m of dst starts at element m * dst_stride, rows of the residual likewise.
//
// Weights: [out_c][weights_stride] with element (n, k) at n * weights_stride + k, of weights.type;
// what follows k is zero. weights_stride is a multiple of 16 bytes. Source and weights are of one
// float type, or uint8 and int8.
struct ProductOp {
  Operand src;
  Operand weights;
  Operand dst;
  Operand bias;        // float32 [out_c]; may be kNone
  Operand int_bias;    // int32 [out_c]; of integer products
  Operand multiplier;  // float32 [out_c]; of integer products
  Operand residual;    // of a float type; may be kNone
  int64_t image_stride = 0;
  int64_t dst_stride = 0;
  int64_t residual_stride = 0;
  int32_t residual_period = 0;  // row m of dst takes row m % residual_period; 0: row m
  int32_t pixel_stride = 0;
  int32_t m = 0;
  int32_t n = 0;  // output channels of one group
  int32_t k = 0;  // kernel_h * kernel_w * in_c
  int32_t weights_stride = 0;
  int32_t groups = 1;
  int32_t in_h = 1;
  int32_t in_w = 1;
  int32_t in_c = 0;  // of one group
  int32_t out_h = 1;
  int32_t out_w = 1;
  int32_t kernel_h = 1;
  int32_t kernel_w = 1;
  int32_t stride_h = 1;
  int32_t stride_w = 1;
  int32_t dilation_h = 1;
  int32_t dilation_w = 1;
  int32_t pad_top = 0;
  int32_t pad_left = 0;
  int32_t pad_value = 0;
  Activation activation = Activation::kNone;
  float alpha = 0.0F;
  float beta = 0.0F;
  Rounding rounding;
};

enum class RowKind : uint8_t { kLayerNorm, kSoftmax, kLogSoftmax };

// Dense rows, src and dst of any float types, dst also uint8 (kernels/norm/norm.h).
struct RowsOp {
  Operand src;
  Operand dst;
  Operand gamma;  // float32 [cols]; may be kNone
  Operand beta;
  int64_t rows = 0;
  int32_t cols = 0;
  float epsilon = 0.0F;
  Rounding rounding;
  RowKind kind = RowKind::kLayerNorm;
};

// kernels/attention/attention.h. Element d of head h of token t of image i stands at
// i * image_stride + t * token_stride + h * dim + d.
struct AttentionOp {
  Operand q;
  Operand k;
  Operand v;
  Operand dst;                // dense [batch, q_tokens, heads * v_dim]
  int64_t q_strides[2] = {};  // image, token
  int64_t k_strides[2] = {};
  int64_t v_strides[2] = {};
  int32_t batch = 0;
  int32_t heads = 0;
  int32_t q_tokens = 0;
  int32_t kv_tokens = 0;
  int32_t qk_dim = 0;
  int32_t v_dim = 0;
  float scale = 1.0F;
  Rounding rounding;
};

// kernels/pool/pool.h: [batch, in_h, in_w, channels] -> [batch, out_h, out_w, channels].
struct PoolOp {
  Operand src;
  Operand dst;
  int32_t batch = 0;
  int32_t channels = 0;
  int32_t in_h = 0;
  int32_t in_w = 0;
  int32_t out_h = 0;
  int32_t out_w = 0;
  int32_t kernel_h = 1;
  int32_t kernel_w = 1;
  int32_t stride_h = 1;
  int32_t stride_w = 1;
  int32_t dilation_h = 1;
  int32_t dilation_w = 1;
  int32_t pad_top = 0;
  int32_t pad_left = 0;
  int32_t pad_bottom = 0;
  int32_t pad_right = 0;
  int32_t mean = 0;               // 0: maximum
  int32_t count_include_pad = 0;  // of the mean
};

inline constexpr int kMaxRank = 6;
inline constexpr int kMaxOperands = 16;
inline constexpr int kMaxInstructions = 24;

struct ChainOperand {
  Operand place;
  int64_t strides[kMaxRank] = {};  // in elements, for the dimensions of ChainOp::shape
  int32_t zero_point = 0;          // of integers: float(q - zero_point) * scale
  float scale = 1.0F;
};

struct ChainInstruction {
  LoopOp op = LoopOp::kAdd;
  uint8_t operand = 0;   // of a binary operation
  uint8_t reversed = 0;  // 1: op(operand, r)
  float alpha = 0.0F;
  float beta = 0.0F;
};

// An elementwise program (kernels/elementwise/elementwise.h). No instructions: a conversion, or a
// copy to another memory order.
struct ChainOp {
  Operand dst;
  Operand table;  // uint8 [256]: dst[i] = table[operand 0 [i]], both bytes; kNone: the program
  int64_t dst_strides[kMaxRank] = {};
  int64_t count = 0;             // elements, below 2^31
  int32_t shape[kMaxRank] = {};  // outermost first; what is not used is 1, in front
  int32_t operand_count = 0;
  int32_t instruction_count = 0;
  Rounding rounding;
  ChainOperand operands[kMaxOperands];
  ChainInstruction program[kMaxInstructions];
};

enum class ReduceKind : uint8_t { kSum, kMean, kMax, kMin, kProd, kL2 };

// Reductions of floats: element i of the dense dst, over kept_shape, is that of the elements
// src[i * kept_strides + j * reduced_strides].
struct ReduceOp {
  Operand src;
  Operand dst;
  int64_t kept_strides[kMaxRank] = {};
  int64_t reduced_strides[kMaxRank] = {};
  int64_t kept_count = 0;
  int64_t reduced_count = 0;
  int32_t kept_shape[kMaxRank] = {};
  int32_t reduced_shape[kMaxRank] = {};
  ReduceKind kind = ReduceKind::kSum;
};

inline constexpr int kMaxLayers = 32;

// One block of a transformer, its weights as ProductOp keeps them, everything else float32:
//   x += proj(attention(qkv(norm1(x))));  x += fc2(activation(fc1(norm2(x))))
struct EncoderLayer {
  Operand norm1_gamma;
  Operand norm1_beta;
  Operand qkv;  // [3 heads 64][dim]: all of q, all of k, all of v
  Operand qkv_bias;
  Operand proj;  // [dim][heads 64]
  Operand proj_bias;
  Operand norm2_gamma;
  Operand norm2_beta;
  Operand fc1;  // [mlp][dim]
  Operand fc1_bias;
  Operand fc2;  // [dim][mlp]
  Operand fc2_bias;
};

// All blocks of a small transformer (encoder.h), [batch, tokens, dim] -> the same; with a last
// layer norm where last_gamma is not kNone.
struct EncoderOp {
  Operand src;
  Operand dst;
  Operand last_gamma;
  Operand last_beta;
  int32_t batch = 0;
  int32_t tokens = 0;
  int32_t dim = 0;
  int32_t heads = 0;  // of 64
  int32_t mlp = 0;
  int32_t layer_count = 0;
  float scale = 1.0F;
  float epsilon = 0.0F;
  Activation activation = Activation::kNone;
  EncoderLayer layers[kMaxLayers];
};

enum class OpKind : uint8_t {
  kInput,
  kProduct,
  kRows,
  kAttention,
  kPool,
  kChain,
  kReduce,
  kEncoder,
};

struct StepInfo {
  std::string name;       // the graph's node
  std::string operation;  // "Conv + Relu 3x3"
  int64_t macs = 0;       // of one image
  int64_t weight_bytes = 0;
  double weight_density = 1.0;
};

struct Step {
  OpKind kind = OpKind::kInput;
  int32_t index = 0;  // into the vector of that kind
};

struct Program {
  int64_t batch = 0;
  DType storage = DType::kFloat32;
  std::vector<Step> steps;
  std::vector<StepInfo> infos;  // one for each step
  std::vector<InputOp> inputs;
  std::vector<ProductOp> products;
  std::vector<RowsOp> rows;
  std::vector<AttentionOp> attentions;
  std::vector<PoolOp> pools;
  std::vector<ChainOp> chains;
  std::vector<ReduceOp> reduces;
  std::vector<EncoderOp> encoders;
  int64_t input_bytes = 0;   // uint8 pixels, CHW
  int64_t output_bytes = 0;  // float32 scores
  int64_t arena_bytes = 0;
};

}  // namespace pare::gpu

#endif  // PARE_GPU_PROGRAM_H_
