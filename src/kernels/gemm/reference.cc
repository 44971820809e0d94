// The formulas of gemm.h, element by element. Sums of floats are kept in double, so that the
// reference is closer to the truth than what it judges. Packing is a copy: [N,K].
#include <cstring>
#include <vector>

#include "kernels/gemm/variants.h"
#include "kernels/scalar.h"

namespace pare {
namespace {

int64_t packed_bytes(const GemmKernel&, const GemmWeights& w) {
  return w.n * w.k * dtype_bytes(w.type);
}

void pack(const GemmKernel&, const GemmWeights& w, std::byte* packed) {
  const int64_t bytes = dtype_bytes(w.type);
  const auto* src = static_cast<const std::byte*>(w.data);
  for (int64_t n = 0; n < w.n; ++n) {
    for (int64_t k = 0; k < w.k; ++k) {
      const int64_t from = w.k_major ? k * w.n + n : n * w.k + k;
      std::memcpy(packed + (n * w.k + k) * bytes, src + from * bytes, static_cast<size_t>(bytes));
    }
  }
}

int64_t scratch_bytes(const GemmKernel&, const GemmProblem&, int) { return 0; }

std::vector<double> as_doubles(DType type, const void* data, int64_t first, int64_t count) {
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    values[static_cast<size_t>(i)] = static_cast<double>(load_as_float(type, data, first + i));
  }
  return values;
}

float float_element(const GemmArgs& args, const std::vector<double>& row,
                    const std::vector<double>& weights, int64_t n) {
  double sum = 0.0;
  for (size_t k = 0; k < row.size(); ++k) sum += row[k] * weights[k];
  return start_float(args.epilogue, n, static_cast<float>(sum));
}

float integer_element(const GemmProblem& p, const GemmArgs& args, int64_t m, int64_t n) {
  const auto* src = static_cast<const uint8_t*>(args.src) + m * args.src_stride;
  const auto* weights = reinterpret_cast<const int8_t*>(args.packed) + n * p.k;
  int32_t sum = 0;
  for (int64_t k = 0; k < p.k; ++k) sum += src[k] * weights[k];
  return start_integer(args.epilogue, n, sum);
}

void run(const GemmKernel&, const GemmProblem& p, const GemmArgs& args, ThreadPool& pool) {
  const bool integer = p.weights_type == DType::kInt8;
  std::vector<std::vector<double>> rows;
  for (int64_t m = 0; m < p.m && !integer; ++m) {
    rows.push_back(as_doubles(p.src_type, args.src, m * args.src_stride, p.k));
  }
  pool.run(p.n, [&](int64_t n, int) {
    std::vector<double> weights;
    if (!integer) weights = as_doubles(p.weights_type, args.packed, n * p.k, p.k);
    for (int64_t m = 0; m < p.m; ++m) {
      const float v = integer ? integer_element(p, args, m, n)
                              : float_element(args, rows[static_cast<size_t>(m)], weights, n);
      finish_element(args.epilogue, p.dst_type, args.dst, m * args.dst_stride + n, m, n, v);
    }
  });
}

int64_t matmul_scratch(const MatMulKernel&, const MatMulProblem&, int) { return 0; }

void matmul(const MatMulKernel&, const MatMulProblem& p, const MatMulArgs& args, ThreadPool& pool) {
  pool.run(p.batch * p.m, [&](int64_t task, int) {
    const int64_t i = task / p.m;
    const int64_t m = task % p.m;
    const float* a = args.a + args.a_offsets[static_cast<size_t>(i)] + m * args.a_stride;
    const float* b = args.b + args.b_offsets[static_cast<size_t>(i)];
    for (int64_t n = 0; n < p.n; ++n) {
      double sum = 0.0;
      for (int64_t k = 0; k < p.k; ++k) {
        sum += static_cast<double>(a[k]) * static_cast<double>(p.transpose_b
                                                                   ? b[n * args.b_stride + k]
                                                                   : b[k * args.b_stride + n]);
      }
      args.dst[(i * p.m + m) * p.n + n] = static_cast<float>(sum);
    }
  });
}

}  // namespace

const GemmKernel gemm_reference = {"gemm_reference", kIsaBaseline, "dense",
                                   nullptr,          packed_bytes, pack,
                                   scratch_bytes,    run,          nullptr};

const MatMulKernel matmul_reference = {"matmul_reference", kIsaBaseline, nullptr,
                                       matmul_scratch,     matmul,       nullptr};

}  // namespace pare
