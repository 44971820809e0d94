// A small net with every kind of weight layer, images for it and what it answers; for the tests of
// this room.
#ifndef PARE_COMPRESS_TOY_H_
#define PARE_COMPRESS_TOY_H_

#include <memory>
#include <string>
#include <vector>

#include "compress/compress.h"
#include "compress/method.h"
#include "data/dataset.h"
#include "graph/graph.h"

namespace pare::toy {

// uint8 [N, 3, 8, 8] -> Cast -> Mul -> Add -> conv1 3x3x8 -> Relu -> MaxPool 2 -> conv2 3x3x16,
// padded -> Relu -> Flatten -> fc1 Gemm 144 -> 32, transB -> Relu -> fc2 MatMul 32 -> 4 -> Add.
// Weights are drawn with the seed, as He et al. 2015 draw them.
Graph net(uint64_t seed = 1);

// The same with conv2 in two groups of four channels, at stride 2 × 1, dilated downwards, padded by
// 2 above and below and 1 on the right; fc1 64 -> 32.
Graph grouped_net();

// Of its four layers, in order.
std::vector<std::string> weight_names();

// Images of smooth random patterns, the label depending on their colour.
std::shared_ptr<const Dataset> images(int64_t count, uint64_t seed = 7);

// A context with those images and few of them drawn.
CompressContext context(int64_t images = 96);

// The graph after the recipe, which must go well.
Compressed compressed(const Graph& graph, const std::string& recipe,
                      const CompressContext& context = toy::context());

// What a graph answers for images that no context has, one after the other.
std::vector<float> logits(const Graph& graph, int64_t images = 40);
// Signal to noise of `got` against `want`.
double snr_db(const std::vector<float>& want, const std::vector<float>& got);

}  // namespace pare::toy

#endif  // PARE_COMPRESS_TOY_H_
