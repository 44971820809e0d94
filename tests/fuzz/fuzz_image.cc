// JPEG and PNG files, as far as into a network's input.
#include <array>

#include "data/image.h"
#include "targets.h"

bool fuzz_image(std::span<const std::byte> bytes) {
  const auto image = pare::decode_image_bytes(bytes, "fuzz");
  if (!image.ok()) return false;
  std::array<uint8_t, 3 * 8 * 8> pixels{};
  const pare::ImageFit fit = {.channels = 3, .height = 8, .width = 8, .resize = 9};
  require(pare::fit_image(*image, fit, pixels).ok());
  return true;
}
