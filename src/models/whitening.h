// A first convolution that whitens its patches: made from images instead of trained.
//
// The patches of normalised images, flattened to d = channels · kernel² numbers, have second
// moments C = E[p pᵀ] = V diag(λ) Vᵀ. Filter i is vᵢ / √(λᵢ + ε), filter d + i its negative: their
// answers are uncorrelated and of equal size, and with a GELU behind them nothing of a patch is
// lost. So later layers begin with what training would have to find first (Page 2018, "How to train
// your ResNet"; Jordan 2024).
#ifndef PARE_MODELS_WHITENING_H_
#define PARE_MODELS_WHITENING_H_

#include <cstdint>
#include <span>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

struct WhiteningImages {
  std::span<const uint8_t> pixels;  // [count, channels, height, width]
  int64_t count = 0;
  int64_t channels = 3;
  int64_t height = 32;
  int64_t width = 32;
};

// Writes the weights of the first convolution of `graph`, one that GraphBuilder made: it must stand
// directly behind image_input(), without padding, stride 1, and have 2 · channels · kernel²
// outputs. The same for any number of threads.
Status whiten_first_convolution(Graph& graph, const WhiteningImages& images);

}  // namespace pare

#endif  // PARE_MODELS_WHITENING_H_
