// Input moments: mean and variance of what each weight layer reads, place by place along the axis
// it sums over: channels of a Conv, inputs of a Gemm or MatMul.
#ifndef PARE_COMPRESS_INPUT_MOMENTS_H_
#define PARE_COMPRESS_INPUT_MOMENTS_H_

#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/layers.h"
#include "compress/method.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

struct Moments {
  std::vector<double> mean;
  std::vector<double> variance;  // about the mean, over images and pixels or tokens
};

// By the name of the value that is read. Images are streamed; memory grows with the widths alone.
// kNumeric, naming the value, when one is NaN or infinite.
Result<std::map<std::string, Moments>> measure_input_moments(const Graph& graph,
                                                             const std::vector<WeightLayer>& layers,
                                                             const Dataset& images,
                                                             const CompressContext& context);

}  // namespace pare

#endif  // PARE_COMPRESS_INPUT_MOMENTS_H_
