#include "kernels/elementwise/elementwise.h"

#include <cstring>
#include <utility>

namespace pare {
namespace {

// Elements of a piece: the running value and one operand in float32 take 8 KB, a quarter of the
// smallest first-level cache in use.
constexpr int64_t kPiece = 1024;
// Elements of a task: some microseconds of work against the 0.1 of handing it out.
constexpr int64_t kTask = 32 * kPiece;

#define PARE_KERNEL(symbol, needs, loops) \
  constexpr ElementwiseKernel symbol{#symbol, needs, nullptr, &loops};
#include "kernels/elementwise/kernels.inc"
#undef PARE_KERNEL

constexpr const ElementwiseKernel* kKernels[] = {
#define PARE_KERNEL(symbol, needs, loops) &symbol,
#include "kernels/elementwise/kernels.inc"
#undef PARE_KERNEL
};

const char* at(const void* base, int64_t element, DType type) {
  return static_cast<const char*>(base) + element * (dtype_bits(type) / 8);
}

void load_dense(const ElementwiseLoops& loops, const ElementwiseOperand& operand, const void* src,
                float* dst, int64_t n) {
  switch (operand.type) {
    case DType::kFloat32:
      std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
    case DType::kFloat16:
      loops.load_f16(static_cast<const uint16_t*>(src), dst, n);
      return;
    case DType::kBFloat16:
      loops.load_bf16(static_cast<const uint16_t*>(src), dst, n);
      return;
    case DType::kInt8:
      loops.load_s8(static_cast<const int8_t*>(src), dst, n, operand.zero_point);
      return;
    case DType::kInt32:
      loops.load_s32(static_cast<const int32_t*>(src), dst, n, operand.zero_point);
      return;
    default:  // uint8 and bool
      loops.load_u8(static_cast<const uint8_t*>(src), dst, n, operand.zero_point);
      return;
  }
}

template <typename T>
void gather(const void* src, int64_t stride, T* dst, int64_t n) {
  const T* s = static_cast<const T*>(src);
  for (int64_t i = 0; i < n; ++i) dst[i] = s[i * stride];
}

// One piece of a row whose elements are `stride` apart.
void load_row(const ElementwiseLoops& loops, const ElementwiseOperand& operand, const void* src,
              int64_t stride, float* dst, int64_t n) {
  if (stride == 1) {
    load_dense(loops, operand, src, dst, n);
    return;
  }
  if (stride == 0) {
    load_dense(loops, operand, src, dst, 1);
    for (int64_t i = 1; i < n; ++i) dst[i] = dst[0];
    return;
  }
  alignas(64) uint32_t packed[kPiece];
  switch (dtype_bits(operand.type)) {
    case 8:
      gather(src, stride, reinterpret_cast<uint8_t*>(packed), n);
      break;
    case 16:
      gather(src, stride, reinterpret_cast<uint16_t*>(packed), n);
      break;
    default:
      gather(src, stride, packed, n);
      break;
  }
  load_dense(loops, operand, packed, dst, n);
}

// Elements begin … begin+n-1 of an operand as float32: in place where they already are, else in
// `buffer`.
const float* load_piece(const ElementwiseLoops& loops, const ElementwiseOperand& operand,
                        const StridedShape& walk, const void* src, int64_t begin, int64_t n,
                        float* buffer) {
  const bool dense = walk.shape.size() == 1 && walk.strides[0][0] == 1;
  if (dense && operand.type == DType::kFloat32 && operand.scale == 1.0F)
    return static_cast<const float*>(src) + begin;
  float* dst = buffer;
  for_each_row(walk, begin, begin + n, [&](const int64_t* offsets, int64_t length) {
    load_row(loops, operand, at(src, offsets[0], operand.type), walk.strides[0].back(), dst,
             length);
    dst += length;
  });
  if (operand.scale != 1.0F) {
    loops.unary[static_cast<int>(LoopOp::kScale)](buffer, buffer, n, operand.scale, 0.0F);
  }
  return buffer;
}

void store_dense(const ElementwiseLoops& loops, const ElementwiseProblem& p, const float* src,
                 void* dst, int64_t n) {
  switch (p.dst.type) {
    case DType::kFloat16:
      loops.store_f16(src, static_cast<uint16_t*>(dst), n);
      return;
    case DType::kBFloat16:
      loops.store_bf16(src, static_cast<uint16_t*>(dst), n);
      return;
    case DType::kInt8:
      loops.store_s8(src, static_cast<int8_t*>(dst), n, p.dst_scale, p.dst.zero_point, p.dst_lo,
                     p.dst_hi);
      return;
    case DType::kUInt8:
      loops.store_u8(src, static_cast<uint8_t*>(dst), n, p.dst_scale, p.dst.zero_point, p.dst_lo,
                     p.dst_hi);
      return;
    default:
      if (src != dst) std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
      return;
  }
}

template <typename T>
void scatter(const T* src, int64_t stride, void* dst, int64_t n) {
  T* d = static_cast<T*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i * stride] = src[i];
}

void store_row(const ElementwiseLoops& loops, const ElementwiseProblem& p, const float* src,
               int64_t stride, void* dst, int64_t n) {
  if (stride == 1) {
    store_dense(loops, p, src, dst, n);
    return;
  }
  alignas(64) uint32_t packed[kPiece];
  store_dense(loops, p, src, packed, n);
  switch (dtype_bits(p.dst.type)) {
    case 8:
      scatter(reinterpret_cast<const uint8_t*>(packed), stride, dst, n);
      break;
    case 16:
      scatter(reinterpret_cast<const uint16_t*>(packed), stride, dst, n);
      break;
    default:
      scatter(packed, stride, dst, n);
      break;
  }
}

}  // namespace

Result<Choice<ElementwiseKernel>> choose_elementwise(const ElementwiseProblem& problem,
                                                     const KernelRequest& request) {
  return choose_kernel<ElementwiseKernel>("elementwise", kKernels, problem, request);
}

ElementwisePlan::ElementwisePlan(ElementwiseProblem problem, const ElementwiseKernel& kernel)
    : problem_(std::move(problem)),
      dst_walk_(collapse(problem_.shape, {problem_.dst.strides})),
      loops_(kernel.loops) {
  for (const ElementwiseOperand& operand : problem_.operands) {
    walks_.push_back(collapse(problem_.shape, {operand.strides}));
  }
}

void ElementwisePlan::run(const void* const* srcs, void* dst, ThreadPool& pool) const {
  const int64_t count = dst_walk_.count;
  pool.run((count + kTask - 1) / kTask, [&](int64_t task, int /*worker*/) {
    run_range(srcs, dst, task * kTask, std::min(count, (task + 1) * kTask));
  });
}

void run_table(const uint8_t* table, const uint8_t* src, uint8_t* dst, int64_t count,
               ThreadPool& pool) {
  pool.run((count + kTask - 1) / kTask, [&](int64_t task, int /*worker*/) {
    const int64_t end = std::min(count, (task + 1) * kTask);
    for (int64_t i = task * kTask; i < end; ++i) dst[i] = table[src[i]];
  });
}

void ElementwisePlan::run_range(const void* const* srcs, void* dst, int64_t begin,
                                int64_t end) const {
  alignas(64) float running[kPiece];
  alignas(64) float other[kPiece];
  for (int64_t i = begin; i < end; i += kPiece) {
    const int64_t n = std::min(kPiece, end - i);
    const float* r = load_piece(*loops_, problem_.operands[0], walks_[0], srcs[0], i, n, running);
    for (const ElementwiseInstruction& step : problem_.program) {
      if (step.op < kFirstBinaryLoop) {
        loops_->unary[static_cast<int>(step.op)](r, running, n, step.alpha, step.beta);
      } else {
        const auto k = static_cast<size_t>(step.operand);
        const float* b = load_piece(*loops_, problem_.operands[k], walks_[k], srcs[k], i, n, other);
        const int op = static_cast<int>(step.op) - static_cast<int>(kFirstBinaryLoop);
        if (step.reversed) {
          loops_->binary[op](b, r, running, n);
        } else {
          loops_->binary[op](r, b, running, n);
        }
      }
      r = running;
    }
    const float* src = r;
    for_each_row(dst_walk_, i, i + n, [&](const int64_t* offsets, int64_t length) {
      store_row(*loops_, problem_, src, dst_walk_.strides[0].back(),
                const_cast<char*>(at(dst, offsets[0], problem_.dst.type)), length);
      src += length;
    });
  }
}

}  // namespace pare
