#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "base/tensor.h"
#include "kernels/gemm/gemm.h"
#include "measure/ceilings.h"
#include "measure/least_time.h"

namespace pare {
namespace {

// A dense layer as large as fits a core's cache when one of ten of its weights is left.
constexpr int64_t kWidth = 1024;
constexpr uint32_t kOneOf = 10;
constexpr int64_t kManyRows = 64;

// Ones at random places among zeros; how many.
template <typename T>
int64_t scatter(std::span<T> weights) {
  Rng rng(1, RngPurpose::kTiming);
  int64_t ones = 0;
  for (T& weight : weights) {
    if (rng.next_u32() % kOneOf != 0) continue;
    weight = T{1};
    ++ones;
  }
  return ones;
}

// 10^9 multiply-adds a second of weights that are not zero; nullopt: no kernel for them.
std::optional<double> sparse_gmac_s(DType type, int64_t rows, const CpuFeatures& cpu,
                                    ThreadPool& pool) {
  Tensor weights(type, {kWidth, kWidth});
  const int64_t ones = type == DType::kInt8 ? scatter(weights.mutable_values<int8_t>())
                                            : scatter(weights.mutable_values<float>());
  GemmProblem problem;
  problem.m = rows;
  problem.n = problem.k = kWidth;
  problem.src_type = type == DType::kInt8 ? DType::kUInt8 : DType::kFloat32;
  problem.weights_type = type;
  problem.weight_density = static_cast<double>(ones) / (kWidth * kWidth);
  const auto choice = choose_gemm(problem, {.cpu = cpu});
  if (!choice.ok() ||
      std::string_view(choice->kernel->name).find("_sparse_") == std::string_view::npos) {
    return std::nullopt;
  }
  const GemmKernel& kernel = *choice->kernel;
  const GemmWeights from{kWidth, kWidth, type, weights.data()};
  Tensor packed(DType::kUInt8, {gemm_packed_bytes(kernel, from)});
  gemm_pack(kernel, from, packed.mutable_data());
  const Tensor src(problem.src_type, {rows, kWidth});
  Tensor dst(DType::kFloat32, {rows, kWidth});
  Tensor scratch(DType::kUInt8, {gemm_scratch_bytes(kernel, problem, pool.threads())});
  const std::vector<float> multiplier(kWidth, 1.0F);
  GemmArgs args;
  args.src = src.data();
  args.src_stride = args.dst_stride = kWidth;
  args.packed = packed.data();
  args.dst = dst.mutable_data();
  args.epilogue.multiplier = multiplier.data();
  args.scratch = {scratch.mutable_data(), static_cast<size_t>(scratch.byte_count())};
  constexpr int kTries = 100;
  const double us = least_us(kTries, [&] { gemm_run(kernel, problem, args, pool); });
  return static_cast<double>(ones * rows) / us / 1e3;
}

}  // namespace

void measure_sparse_rates(const CpuFeatures& cpu, ThreadPool& pool, CeilingsRecord& to) {
  to.sparse_row_float32_gmac_s = sparse_gmac_s(DType::kFloat32, 1, cpu, pool);
  to.sparse_rows_float32_gmac_s = sparse_gmac_s(DType::kFloat32, kManyRows, cpu, pool);
  to.sparse_row_int8_gmac_s = sparse_gmac_s(DType::kInt8, 1, cpu, pool);
  to.sparse_rows_int8_gmac_s = sparse_gmac_s(DType::kInt8, kManyRows, cpu, pool);
}

}  // namespace pare
