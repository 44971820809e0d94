// Ceilings: what this machine can do at best, measured in about half a second, so that a
// layer's time can be held against something (roofline.h).
//
// Each is the best of several tries, since only the machine itself is meant and not what else it
// does: reading from each level of the memory (kernels/peak), multiplying and adding in each type,
// handing a job to the pool and back, and starting a step of a plan.
//
// Source of the idea: Williams, Waterman and Patterson 2009, "Roofline".
#ifndef PARE_MEASURE_CEILINGS_H_
#define PARE_MEASURE_CEILINGS_H_

#include <cstdint>
#include <string>

#include "pare/status.h"

#include "base/cpu_features.h"
#include "base/thread_pool.h"
#include "records/schema.h"

namespace pare {

struct CeilingsOptions {
  int threads = 1;
  std::string cpu_level;  // as SessionOptions has it
  bool retake = false;    // although they were measured before
};

// The rates of all threads together. Takes half a second or so.
Result<CeilingsRecord> measure_ceilings(const CeilingsOptions& options);

// The same out of the user's cache folder, which holds one file for each processor, number of
// cores and threads, instruction set and version of Pare. Measured and put there when there is
// none, when it cannot be read, or when asked to; that it cannot be written is no failure.
Result<CeilingsRecord> load_ceilings(const CeilingsOptions& options);

// Bytes a microsecond when the threads go through `working_set` bytes again and again: between two
// measured sizes along the logarithm of the size, beyond them as at the nearest.
double read_bytes_per_us(const CeilingsRecord& ceilings, double working_set);
// Multiply-adds a microsecond in "float32", "bfloat16" or "int8". Sixteen-bit floats without
// instructions of their own are multiplied as float32.
double macs_per_us(const CeilingsRecord& ceilings, const std::string& arithmetic);
// The same of weights that are not zero among ones that are, each multiplied by `rows` rows or
// pixels of the source. Where such kernels were not measured, as above.
double sparse_macs_per_us(const CeilingsRecord& ceilings, const std::string& arithmetic,
                          double rows);

// What the kernels for pruned weights reach with a layer that lies in the caches: no loop of
// multiply-adds could tell, since finding a weight costs more than multiplying it. Sets the four
// rates; nullopt where no such kernel runs. (sparse_ceilings.cc)
void measure_sparse_rates(const CpuFeatures& cpu, ThreadPool& pool, CeilingsRecord& to);

}  // namespace pare

#endif  // PARE_MEASURE_CEILINGS_H_
