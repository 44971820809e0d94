// JPEG by libjpeg-turbo's TurboJPEG interface, with its accurate transform and smooth upsampling:
// the settings Pillow uses.

#include <fmt/format.h>
#include <turbojpeg.h>

#include <cstring>
#include <memory>

#include "data/image_codecs.h"

namespace pare {
namespace {

// Huffman coding spends at least a bit on a block of 64 pixels (512 pixels a byte); arithmetic
// coding can spend less on an empty picture.
constexpr int64_t kPixelsPerByte = 20000;

struct Destroy {
  void operator()(void* handle) const { tjDestroy(handle); }
};
using Handle = std::unique_ptr<void, Destroy>;

// What the library calls a warning still gives pixels. Stray bytes between markers do no harm;
// everything else means that part of the picture was made up.
bool harmless(const char* warning) { return std::strstr(warning, "extraneous bytes") != nullptr; }

// Adobe's convention, which all CMYK JPEGs follow: inverted inks.
void cmyk_to_rgb(std::span<const uint8_t> cmyk, std::span<uint8_t> rgb) {
  for (size_t i = 0; i < rgb.size() / 3; ++i) {
    const int k = cmyk[4 * i + 3];
    for (size_t c = 0; c < 3; ++c) {
      // k - (255 - ink) k / 255, the quotient rounded as Pillow rounds it.
      const int product = (255 - cmyk[4 * i + c]) * k + 128;
      rgb[3 * i + c] = static_cast<uint8_t>(k - (((product >> 8) + product) >> 8));
    }
  }
}

}  // namespace

Result<Image> decode_jpeg(std::span<const std::byte> bytes, const std::string& name) {
  const Handle handle(tjInitDecompress());
  if (handle == nullptr) return out_of_memory(name + ": cannot start the JPEG decoder");
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0;
  int height = 0;
  int subsampling = 0;
  int colours = 0;
  if (tjDecompressHeader3(handle.get(), data, bytes.size(), &width, &height, &subsampling,
                          &colours) != 0) {
    return corrupt(fmt::format("{}: broken JPEG: {}", name, tjGetErrorStr2(handle.get())));
  }
  PARE_RETURN_IF_ERROR(check_image_size(name, height, width, bytes.size(), kPixelsPerByte));
  const bool cmyk = colours == TJCS_CMYK || colours == TJCS_YCCK;
  const auto area = static_cast<size_t>(height) * static_cast<size_t>(width);
  Image image{height, width, {}};
  image.pixels.resize(area * 3);
  std::vector<uint8_t> inks(cmyk ? area * 4 : 0);
  const int failed = tjDecompress2(
      handle.get(), data, bytes.size(), cmyk ? inks.data() : image.pixels.data(), width, 0, height,
      cmyk ? TJPF_CMYK : TJPF_RGB, TJFLAG_ACCURATEDCT | TJFLAG_LIMITSCANS);
  if (failed != 0) {
    const char* why = tjGetErrorStr2(handle.get());
    if (tjGetErrorCode(handle.get()) != TJERR_WARNING || !harmless(why)) {
      return corrupt(fmt::format("{}: broken JPEG: {}", name, why));
    }
  }
  if (cmyk) cmyk_to_rgb(inks, image.pixels);
  return turn_upright(std::move(image), exif_orientation(bytes));
}

}  // namespace pare
