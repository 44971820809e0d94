// Pixels, elementwise chains, pooling and reductions: operations that move more than they compute.
#include "gpu/cuda/common.cuh"
#include "gpu/cuda/launch.cuh"

namespace pare::gpu::cuda {
namespace {

constexpr int kThreads = 256;

__global__ void input_kernel(const __grid_constant__ InputOp op) {
  wait_for_previous();
  let_next_begin();
  const int plane = op.height * op.width;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= static_cast<int64_t>(op.batch) * plane) return;
  const int64_t image = pixel / plane;
  const int at = static_cast<int>(pixel % plane);
  const uint8_t* src = address<const uint8_t>(op.src) + image * op.channels * plane;
  const int x = at % op.width;
  const int channels = op.neighbours * op.slot;
  for (int i = 0; i < channels; ++i) {
    const int c = i % op.slot;
    const int right = i / op.slot;
    float v = 0.0F;
    if (c < op.channels && x + right < op.width) {
      const int from = op.reversed_channels != 0 ? op.channels - 1 - c : c;
      const int code = src[static_cast<int64_t>(from) * plane + at + right];
      v = op.table.space == Space::kNone ? static_cast<float>(code)
                                         : address<const float>(op.table)[c * 256 + code];
    }
    store_float(op.dst.type, address<void>(op.dst), pixel * channels + i, v, {});
  }
}

// Pixels whose codes are taken as they are and that fill sixteen bytes, four channels each.
template <typename T>
__global__ void wide_input_kernel(const __grid_constant__ InputOp op) {
  constexpr int kNeighbours = 4 / sizeof(T);
  wait_for_previous();
  let_next_begin();
  const int plane = op.height * op.width;
  const int64_t pixel = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (pixel >= static_cast<int64_t>(op.batch) * plane) return;
  const int at = static_cast<int>(pixel % plane);
  const int x = at % op.width;
  const uint8_t* src = address<const uint8_t>(op.src) + pixel / plane * op.channels * plane + at;
  T out[16 / sizeof(T)];
#pragma unroll
  for (int right = 0; right < kNeighbours; ++right) {
#pragma unroll
    for (int c = 0; c < 4; ++c) {
      int code = 0;
      if (c < op.channels && x + right < op.width) {
        const int from = op.reversed_channels != 0 ? op.channels - 1 - c : c;
        code = src[from * plane + right];
      }
      if constexpr (sizeof(T) == 1) {
        out[right * 4 + c] = static_cast<T>(code);
      } else {
        out[right * 4 + c] = from_float<T>(static_cast<float>(code));
      }
    }
  }
  address<uint4>(op.dst)[pixel] = *reinterpret_cast<const uint4*>(out);
}

__device__ float unary(LoopOp op, float r, float alpha, float beta) {
  switch (op) {
    case LoopOp::kAbs:
      return fabsf(r);
    case LoopOp::kNeg:
      return -r;
    case LoopOp::kExp:
      return expf(r);
    case LoopOp::kLog:
      return logf(r);
    case LoopOp::kSqrt:
      return __fsqrt_rn(r);
    case LoopOp::kReciprocal:
      return __frcp_rn(r);
    case LoopOp::kErf:
      return erff(r);
    case LoopOp::kTanh:
      return tanhf(r);
    case LoopOp::kSigmoid:
      return sigmoid(r);
    case LoopOp::kRelu:
      return r < 0.0F ? 0.0F : r;
    case LoopOp::kLeakyRelu:
      return r < 0.0F ? __fmul_rn(alpha, r) : r;
    case LoopOp::kClip:
      return fminf(fmaxf(r, alpha), beta);
    case LoopOp::kGelu:
      return gelu(r);
    case LoopOp::kGeluTanh:
      return activate(Activation::kGeluTanh, r, 0.0F, 0.0F);
    case LoopOp::kSilu:
      return r * sigmoid(r);
    case LoopOp::kHardSigmoid:
      return activate(Activation::kHardSigmoid, r, alpha, beta);
    case LoopOp::kHardSwish:
      return activate(Activation::kHardSwish, r, alpha, beta);
    case LoopOp::kFloor:
      return floorf(r);
    case LoopOp::kCeil:
      return ceilf(r);
    case LoopOp::kRound:
      return rintf(r);
    case LoopOp::kSign:
      return r > 0.0F ? 1.0F : (r < 0.0F ? -1.0F : r);
    case LoopOp::kSoftplus:
      return fmaxf(r, 0.0F) + log1pf(expf(-fabsf(r)));
    case LoopOp::kElu:
      return r < 0.0F ? alpha * expm1f(r) : r;
    case LoopOp::kScale:
      return __fmul_rn(r, alpha);
    default:
      return r;
  }
}

__device__ float binary(LoopOp op, float a, float b) {
  switch (op) {
    case LoopOp::kAdd:
      return __fadd_rn(a, b);
    case LoopOp::kSub:
      return __fsub_rn(a, b);
    case LoopOp::kMul:
      return __fmul_rn(a, b);
    case LoopOp::kDiv:
      return __fdiv_rn(a, b);
    case LoopOp::kMin:
      return fminf(a, b);
    case LoopOp::kMax:
      return fmaxf(a, b);
    case LoopOp::kPow:
      return powf(a, b);
    case LoopOp::kPRelu:
      return a < 0.0F ? __fmul_rn(b, a) : a;
    default:
      return a;
  }
}

__device__ float load_operand(const ChainOperand& operand, const int (&index)[kMaxRank]) {
  int64_t at = 0;
  for (int d = 0; d < kMaxRank; ++d) at += index[d] * operand.strides[d];
  const void* data = address<const void>(operand.place);
  switch (operand.place.type) {
    case DType::kFloat32:
    case DType::kFloat16:
    case DType::kBFloat16: {
      const float v = load_float(operand.place.type, data, at);
      return operand.scale == 1.0F ? v : __fmul_rn(v, operand.scale);
    }
    case DType::kInt32: {
      const int q = static_cast<const int*>(data)[at] - operand.zero_point;
      return __fmul_rn(static_cast<float>(q), operand.scale);
    }
    default: {
      const float q = load_float(operand.place.type, data, at);
      return __fmul_rn(q - static_cast<float>(operand.zero_point), operand.scale);
    }
  }
}

__global__ void chain_kernel(const __grid_constant__ ChainOp op) {
  wait_for_previous();
  let_next_begin();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * kThreads + threadIdx.x;
  if (i >= op.count) return;
  int index[kMaxRank];
  uint32_t rest = static_cast<uint32_t>(i);
  int64_t to = 0;
#pragma unroll
  for (int d = kMaxRank - 1; d >= 0; --d) {
    index[d] = 0;
    if (op.shape[d] == 1) continue;
    const uint32_t size = static_cast<uint32_t>(op.shape[d]);
    index[d] = static_cast<int>(rest % size);
    rest /= size;
    to += index[d] * op.dst_strides[d];
  }
  if (op.table.space != Space::kNone) {
    const uint8_t code = address<const uint8_t>(op.operands[0].place)[i];
    address<uint8_t>(op.dst)[i] = address<const uint8_t>(op.table)[code];
    return;
  }
  float r = load_operand(op.operands[0], index);
  for (int k = 0; k < op.instruction_count; ++k) {
    const ChainInstruction& step = op.program[k];
    if (step.op < kFirstBinaryLoop) {
      r = unary(step.op, r, step.alpha, step.beta);
    } else {
      const float b = load_operand(op.operands[step.operand], index);
      r = step.reversed != 0 ? binary(step.op, b, r) : binary(step.op, r, b);
    }
  }
  store_float(op.dst.type, address<void>(op.dst), to, r, op.rounding);
}

__global__ void reduce_kernel(const __grid_constant__ ReduceOp op) {
  wait_for_previous();
  let_next_begin();
  const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= op.kept_count) return;
  int64_t base = 0;
  int64_t rest = i;
  for (int d = kMaxRank - 1; d >= 0; --d) {
    base += rest % op.kept_shape[d] * op.kept_strides[d];
    rest /= op.kept_shape[d];
  }
  const bool greatest = op.kind == ReduceKind::kMax;
  const bool smallest = op.kind == ReduceKind::kMin;
  float r = op.kind == ReduceKind::kProd ? 1.0F : 0.0F;
  for (int64_t j = 0; j < op.reduced_count; ++j) {
    int64_t at = base;
    int64_t left = j;
    for (int d = kMaxRank - 1; d >= 0; --d) {
      if (op.reduced_shape[d] == 1) continue;
      if (left < op.reduced_shape[d]) {  // the only dimension that is left
        at += left * op.reduced_strides[d];
        break;
      }
      at += left % op.reduced_shape[d] * op.reduced_strides[d];
      left /= op.reduced_shape[d];
    }
    const float v = load_float(op.src.type, address<const void>(op.src), at);
    if (greatest || smallest) {
      r = j == 0 ? v : (greatest ? fmaxf(r, v) : fminf(r, v));
    } else if (op.kind == ReduceKind::kProd) {
      r *= v;
    } else {
      r += op.kind == ReduceKind::kL2 ? v * v : v;
    }
  }
  if (op.kind == ReduceKind::kMean) r /= static_cast<float>(op.reduced_count);
  if (op.kind == ReduceKind::kL2) r = sqrtf(r);
  store_float(op.dst.type, address<void>(op.dst), i, r, {});
}

}  // namespace

cudaError_t launch(const InputOp& op, const Launch& launch) {
  const int64_t pixels = static_cast<int64_t>(op.batch) * op.height * op.width;
  const int bytes = dtype_bits(op.dst.type) / 8;
  if (op.table.space == Space::kNone && op.slot == 4 && op.neighbours * bytes == 4) {
    auto kernel = wide_input_kernel<float>;
    if (op.dst.type == DType::kFloat16) kernel = wide_input_kernel<__half>;
    if (op.dst.type == DType::kBFloat16) kernel = wide_input_kernel<__nv_bfloat16>;
    if (op.dst.type == DType::kUInt8) kernel = wide_input_kernel<uint8_t>;
    return start(launch, kernel, blocks_for(pixels, kThreads), kThreads, 0, op);
  }
  return start(launch, input_kernel, blocks_for(pixels, kThreads), kThreads, 0, op);
}

cudaError_t launch(const ChainOp& op, const Launch& launch) {
  return start(launch, chain_kernel, blocks_for(op.count, kThreads), kThreads, 0, op);
}

cudaError_t launch(const ReduceOp& op, const Launch& launch) {
  constexpr int kFew = 64;  // results are few: more blocks of fewer threads
  return start(launch, reduce_kernel, blocks_for(op.kept_count, kFew), kFew, 0, op);
}

}  // namespace pare::gpu::cuda
