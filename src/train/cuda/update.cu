// One step of all weights in one launch: the gradient scaled, the rule applied, the running average
// moved along and the bfloat16 copy written, each number read and written once.
#include "train/cuda/kernels.h"

namespace pare::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kVector = 4;
static_assert(kChunk % (kThreads * kVector) == 0);

struct StepNumbers {
  float rate;
  float average_share;
  float gradient_scale;
  float first_correction;        // AdamW: 1 / (1 - beta1^t)
  float second_correction_root;  // AdamW: 1 / sqrt(1 - beta2^t)
};

// One weight; what is not there is left alone by the caller.
struct Element {
  float weight, gradient, first, second, average;
};

__device__ void sgd(const UpdateRule& rule, const StepNumbers& n, float decay, Element& e) {
  const float g = e.gradient + decay * e.weight;
  e.first = rule.momentum * e.first + g;
  e.weight -= n.rate * (rule.nesterov != 0 ? g + rule.momentum * e.first : e.first);
}

__device__ void adamw(const UpdateRule& rule, const StepNumbers& n, float decay, Element& e) {
  e.weight -= n.rate * decay * e.weight;
  e.first += (1.0F - rule.beta1) * (e.gradient - e.first);
  e.second = rule.beta2 * e.second + (1.0F - rule.beta2) * e.gradient * e.gradient;
  const float root = sqrtf(e.second) * n.second_correction_root + rule.epsilon;
  e.weight -= n.rate * n.first_correction * e.first / root;
}

template <int N>
struct alignas(sizeof(float) * N) Floats {
  float v[N];
};
template <int N>
struct alignas(sizeof(__nv_bfloat16) * N) Halves {
  __nv_bfloat16 v[N];
};

template <int N>
__device__ void load(const float* from, float* to) {
  const auto pack = *reinterpret_cast<const Floats<N>*>(from);
  for (int i = 0; i < N; ++i) to[i] = pack.v[i];
}
template <int N>
__device__ void load(const __nv_bfloat16* from, float* to) {
  const auto pack = *reinterpret_cast<const Halves<N>*>(from);
  for (int i = 0; i < N; ++i) to[i] = __bfloat162float(pack.v[i]);
}
template <int N>
__device__ void store(const float* from, float* to) {
  Floats<N> pack;
  for (int i = 0; i < N; ++i) pack.v[i] = from[i];
  *reinterpret_cast<Floats<N>*>(to) = pack;
}
template <int N>
__device__ void store(const float* from, __nv_bfloat16* to) {
  Halves<N> pack;
  for (int i = 0; i < N; ++i) pack.v[i] = __float2bfloat16_rn(from[i]);
  *reinterpret_cast<Halves<N>*>(to) = pack;
}

// N neighbouring elements of a row.
template <int N>
__device__ void step(const UpdateRule& rule, const StepNumbers& n, const WeightRow& row,
                     int64_t at) {
  float weight[N];
  load<N>(row.weight + at, weight);
  if (row.gradient != nullptr) {
    float gradient[N];
    float first[N];
    float second[N] = {};
    if (row.bfloat16_gradient != 0) {
      load<N>(static_cast<const __nv_bfloat16*>(row.gradient) + at, gradient);
    } else {
      load<N>(static_cast<const float*>(row.gradient) + at, gradient);
    }
    load<N>(row.first + at, first);
    if (rule.adamw != 0) load<N>(row.second + at, second);
    for (int i = 0; i < N; ++i) {
      Element e = {weight[i], gradient[i] * n.gradient_scale, first[i], second[i], 0};
      if (rule.adamw != 0) {
        adamw(rule, n, row.decay, e);
      } else {
        sgd(rule, n, row.decay, e);
      }
      weight[i] = e.weight;
      first[i] = e.first;
      second[i] = e.second;
    }
    store<N>(weight, row.weight + at);
    store<N>(first, row.first + at);
    if (rule.adamw != 0) store<N>(second, row.second + at);
    if (row.copy != nullptr) store<N>(weight, row.copy + at);
  }
  if (row.average == nullptr) return;
  float average[N];
  load<N>(row.average + at, average);
  for (int i = 0; i < N; ++i) average[i] += n.average_share * (weight[i] - average[i]);
  store<N>(average, row.average + at);
}

__global__ void __launch_bounds__(kThreads)
    update_kernel(const UpdateRule rule, const WeightRow* rows, const WeightChunk* chunks,
                  const UpdateScalars* scalars, const float* gradient_scale) {
  const WeightChunk chunk = chunks[blockIdx.x];
  const WeightRow row = rows[chunk.row];
  StepNumbers n = {scalars->rate * row.rate_share, scalars->average_share,
                   gradient_scale == nullptr ? 1.0F : *gradient_scale, 1.0F, 1.0F};
  if (rule.adamw != 0 && row.gradient != nullptr) {
    // 1 - beta^t loses all its digits in powf for the first steps of a beta near 1.
    const double t = *row.step;
    n.first_correction = static_cast<float>(1.0 / (1.0 - pow(static_cast<double>(rule.beta1), t)));
    n.second_correction_root =
        static_cast<float>(1.0 / sqrt(1.0 - pow(static_cast<double>(rule.beta2), t)));
  }
  const int64_t end = min(chunk.begin + kChunk, row.count);
  const int64_t whole = chunk.begin + (end - chunk.begin) / kVector * kVector;
  for (int64_t at = chunk.begin + threadIdx.x * kVector; at < whole; at += kThreads * kVector) {
    step<kVector>(rule, n, row, at);
  }
  const int64_t rest = whole + threadIdx.x;
  if (rest < end) step<1>(rule, n, row, rest);
}

}  // namespace

void update_weights(const UpdateRule& rule, const WeightRow* rows, const WeightChunk* chunks,
                    int chunk_count, const UpdateScalars* scalars, const float* gradient_scale,
                    cudaStream_t stream) {
  if (chunk_count == 0) return;
  update_kernel<<<chunk_count, kThreads, 0, stream>>>(rule, rows, chunks, scalars, gradient_scale);
}

}  // namespace pare::cuda
