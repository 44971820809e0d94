#include "runtime/input_adapter.h"

#include <fmt/format.h>

#include <cstring>

namespace pare {
namespace {

Status check_channel_values(const std::vector<float>& values, int64_t channels, const char* what) {
  if (values.empty() || static_cast<int64_t>(values.size()) == channels) return ok_status();
  return invalid_argument(fmt::format("the input contract has {} values of {} for {} channels",
                                      values.size(), what, channels));
}

}  // namespace

Result<InputAdapter> InputAdapter::create(const Graph& graph, const ValueInfo& input) {
  const InputContract& contract = graph.contract;
  if (input.shape.size() != 4) {
    return unsupported(fmt::format("input '{}' of {}, expected images of four dimensions",
                                   input.name, shape_string(input.shape)));
  }
  InputAdapter adapter;
  adapter.channels_last_ = contract.channels_last;
  adapter.bgr_ = contract.bgr;
  const size_t c = contract.channels_last ? 3 : 1;
  const size_t h = contract.channels_last ? 1 : 2;
  adapter.channels_ = input.shape[c];
  adapter.height_ = input.shape[h];
  adapter.width_ = input.shape[h + 1];
  if (contract.height != 0 &&
      (contract.height != adapter.height_ || contract.width != adapter.width_ ||
       contract.channels != adapter.channels_)) {
    return invalid_argument(fmt::format("the input contract says {}x{}x{}, input '{}' is {}",
                                        contract.channels, contract.height, contract.width,
                                        input.name, shape_string(input.shape)));
  }
  if (input.type == DType::kUInt8) return adapter;
  if (input.type != DType::kFloat32 || !contract.float_input) {
    return unsupported(fmt::format(
        "input '{}' is {} and the file does not say how pixels become numbers: give it an input "
        "contract with `pare import`",
        input.name, dtype_name(input.type)));
  }
  PARE_RETURN_IF_ERROR(check_channel_values(contract.mean, adapter.channels_, "mean"));
  PARE_RETURN_IF_ERROR(check_channel_values(contract.std, adapter.channels_, "std"));
  adapter.float_input_ = true;
  for (int64_t channel = 0; channel < adapter.channels_; ++channel) {
    const auto i = static_cast<size_t>(channel);
    const float mean = contract.mean.empty() ? 0.0F : contract.mean[i];
    const float std = contract.std.empty() ? 1.0F : contract.std[i];
    for (int code = 0; code < 256; ++code) {
      adapter.table_.push_back((static_cast<float>(code) * contract.scale - mean) / std);
    }
  }
  return adapter;
}

template <typename T, typename F>
void InputAdapter::convert_as(std::span<const uint8_t> pixels, int64_t count, T* dst,
                              F&& value) const {
  const int64_t plane = height_ * width_;
  for (int64_t n = 0; n < count; ++n) {
    for (int64_t c = 0; c < channels_; ++c) {
      const uint8_t* src = pixels.data() + (n * channels_ + c) * plane;
      // Mean and std are in the model's channel order.
      const int64_t to = bgr_ ? channels_ - 1 - c : c;
      T* d = dst + n * channels_ * plane + (channels_last_ ? to : to * plane);
      const int64_t step = channels_last_ ? channels_ : 1;
      for (int64_t i = 0; i < plane; ++i) d[i * step] = value(to, src[i]);
    }
  }
}

void InputAdapter::convert(std::span<const uint8_t> pixels, int64_t count, std::byte* dst) const {
  if (float_input_) {
    convert_as(pixels, count, reinterpret_cast<float*>(dst), [this](int64_t c, uint8_t code) {
      return table_[static_cast<size_t>(c * 256 + code)];
    });
  } else if (channels_last_ || bgr_) {
    convert_as(pixels, count, reinterpret_cast<uint8_t*>(dst),
               [](int64_t, uint8_t code) { return code; });
  } else {
    std::memcpy(dst, pixels.data(), pixels.size());
  }
}

}  // namespace pare
