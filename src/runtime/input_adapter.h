// InputAdapter: from uint8 images as everybody hands them over (CHW, RGB) to the input that the
// model's contract states: another layout, BGR, or float32 scaled and normalised.
#ifndef PARE_RUNTIME_INPUT_ADAPTER_H_
#define PARE_RUNTIME_INPUT_ADAPTER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"

namespace pare {

class InputAdapter {
 public:
  // `input`: the graph's only input with its shape for one image. Fails when the contract does not
  // say how pixels become a float input, or contradicts the input's shape.
  static Result<InputAdapter> create(const Graph& graph, const ValueInfo& input);

  int64_t channels() const { return channels_; }
  int64_t height() const { return height_; }
  int64_t width() const { return width_; }

  // What the conversion does, for those who do it elsewhere.
  bool channels_last() const { return channels_last_; }
  bool bgr() const { return bgr_; }
  // Float input: the value of each pixel code, 256 for each of the model's channels; else empty.
  const std::vector<float>& table() const { return table_; }

  // `dst`: the model's input for `count` images.
  void convert(std::span<const uint8_t> pixels, int64_t count, std::byte* dst) const;

 private:
  template <typename T, typename F>
  void convert_as(std::span<const uint8_t> pixels, int64_t count, T* dst, F&& value) const;

  int64_t channels_ = 0;
  int64_t height_ = 0;
  int64_t width_ = 0;
  bool channels_last_ = false;
  bool bgr_ = false;
  bool float_input_ = false;
  std::vector<float> table_;  // float input: the value of each pixel code, channel after channel
};

}  // namespace pare

#endif  // PARE_RUNTIME_INPUT_ADAPTER_H_
