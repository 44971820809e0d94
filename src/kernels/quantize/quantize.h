// Dynamic quantisation (ONNX DynamicQuantizeLinear): uint8 codes whose range is the tensor's own,
// stretched to contain 0.
//
//   scale = (max(0, max x) - min(0, min x)) / 255
//   zero_point = clamp(rint(-min / scale), 0, 255)
//   q = clamp(rint(x / scale) + zero_point, 0, 255)
//
// All zeros: scale 1 and zero point 0, as ONNX Runtime has it. Fixed scales are the elementwise
// program's business. Bits do not depend on the threads: minimum and maximum are exact.
#ifndef PARE_KERNELS_QUANTIZE_QUANTIZE_H_
#define PARE_KERNELS_QUANTIZE_QUANTIZE_H_

#include <cstdint>

#include "pare/status.h"

#include "base/thread_pool.h"
#include "kernels/kernel.h"
#include "kernels/quantize/loops.h"

namespace pare {

struct DynamicQuantizeProblem {
  int64_t count = 0;
};

struct DynamicQuantizeKernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const DynamicQuantizeProblem&);
  const QuantizeLoops* loops;
};

Result<Choice<DynamicQuantizeKernel>> choose_dynamic_quantize(const DynamicQuantizeProblem& problem,
                                                              const KernelRequest& request);

void run_dynamic_quantize(const DynamicQuantizeKernel& kernel,
                          const DynamicQuantizeProblem& problem, const float* src, uint8_t* dst,
                          float* scale, uint8_t* zero_point, ThreadPool& pool);

}  // namespace pare

#endif  // PARE_KERNELS_QUANTIZE_QUANTIZE_H_
