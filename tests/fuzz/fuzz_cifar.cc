// CIFAR's binary records. The first byte chooses the layout and how many records are expected.
#include "data/cifar.h"
#include "targets.h"

bool fuzz_cifar(std::span<const std::byte> bytes) {
  if (bytes.empty()) return false;
  const auto choice = static_cast<int>(bytes[0]);
  const auto& layout = choice % 2 == 0 ? pare::cifar10_layout() : pare::cifar100_layout();
  const int64_t expected = choice / 2 % 4;
  std::vector<uint8_t> pixels;
  std::vector<int32_t> labels;
  if (!pare::parse_cifar_records(bytes.subspan(1), layout, expected, "fuzz", pixels, labels).ok()) {
    return false;
  }
  require(static_cast<int64_t>(labels.size()) == expected);
  for (const int32_t label : labels) require(label >= 0 && label < layout.class_count);
  return true;
}
