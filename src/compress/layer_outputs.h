// What weight layers answer, before their activation: the float model's answers against the
// quantised one's on the same images.
#ifndef PARE_COMPRESS_LAYER_OUTPUTS_H_
#define PARE_COMPRESS_LAYER_OUTPUTS_H_

#include <map>
#include <string>
#include <vector>

#include "pare/status.h"

#include "compress/layers.h"
#include "compress/method.h"
#include "compress/qdq.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare {

// The value behind the layer's product and bias.
const std::string& layer_output(const Graph& graph, const WeightLayer& layer);

// Signal to noise of each layer's output in `quantised` against that in `graph`, in dB, over the
// first images, at most kOutputImages of them: 10 log10(sum x² / sum (x - y)²). What was lost
// before a layer counts with what the layer itself loses; 200 where nothing was lost. `layers` are
// those of `graph`; `quantised` writes values of the same names. In the layers' order.
inline constexpr int64_t kOutputImages = 64;
Result<std::vector<double>> output_snr_db(const Graph& graph, const Graph& quantised,
                                          const std::vector<WeightLayer>& layers,
                                          const Dataset& images, const CompressContext& context);

// Bias correction, empirical (Nagel et al. 2019, "Data-Free Quantization Through Weight
// Equalization and Bias Correction", section 4.2 and appendix D): rounding shifts the mean of a
// channel's output; the difference of the means over the images is added to its bias. From the
// first layer to the last, each measured with those before it corrected. `written`: what
// write_qdq() wrote for the layers. Layers without an integer bias stay as they are. Returns the
// largest correction of each layer, 0 for none.
Result<std::vector<double>> correct_biases(const Graph& graph,
                                           const std::vector<WeightLayer>& layers,
                                           const std::vector<LayerScales>& written,
                                           const Dataset& images, const CompressContext& context,
                                           Graph& quantised);

}  // namespace pare

#endif  // PARE_COMPRESS_LAYER_OUTPUTS_H_
