// Norms by rows of one instruction set (rows.h), rows shared out among tasks.
#include <algorithm>

#include "kernels/gemm/panels.h"
#include "kernels/norm/rows.h"
#include "kernels/norm/variants.h"

namespace pare {
namespace {

void run(const NormKernel& kernel, const NormProblem& p, const NormArgs& args, ThreadPool& pool) {
  if (p.cols == 0) return;
  const auto& rows = *static_cast<const NormRows*>(kernel.rows);
  NormRowArgs shared{args.src,
                     args.dst,
                     0,
                     p.cols,
                     p.epsilon,
                     args.gamma,
                     args.beta,
                     stored_type(p.src_type),
                     stored_type(p.dst_type),
                     {args.out_scale, args.out_zero_point, 0, 255}};
  auto* row = rows.layer_norm;
  if (p.kind == NormKind::kSoftmax) row = rows.softmax;
  if (p.kind == NormKind::kLogSoftmax) row = rows.log_softmax;
  constexpr int64_t kTaskElements = 8192;  // about two microseconds
  const int64_t in_task = std::max<int64_t>(1, kTaskElements / p.cols);
  const int64_t tasks = (p.rows + in_task - 1) / in_task;
  pool.run(tasks, [&](int64_t task, int) {
    NormRowArgs one = shared;
    const int64_t last = p.rows * (task + 1) / tasks;
    for (int64_t r = p.rows * task / tasks; r < last; ++r) {
      one.first = r * p.cols;
      row(one);
    }
  });
}

}  // namespace

#if PARE_X86
const NormKernel norm_rows_avx512_kernel = {"norm_rows_avx512", kIsaAvx512, nullptr, run,
                                            &norm_rows_avx512};
const NormKernel norm_rows_avx2_kernel = {"norm_rows_avx2", kIsaAvx2, nullptr, run,
                                          &norm_rows_avx2};
#elif PARE_NEON
const NormKernel norm_rows_neon_kernel = {"norm_rows_neon", kIsaBaseline, nullptr, run,
                                          &norm_rows_neon};
#endif

}  // namespace pare
