// PNG by libpng: every colour type and depth is read as 8-bit RGB, which is also what is written.

#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "data/image_codecs.h"

namespace pare {
namespace {

// deflate packs at most 1032 bytes into one, and a byte holds at most eight pixels.
constexpr int64_t kMaxPngPixelsPerByte = 1032 * 8;

// libpng reports errors by longjmp. Everything that lives across it is in this struct or in the
// image that decode_png() owns; read_png() itself has no object with a destructor.
struct Reader {
  std::span<const std::byte> bytes;
  size_t at = 0;
  const std::string* name = nullptr;
  char error[128] = "";
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::vector<png_bytep> rows;

  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void read_bytes(png_structp png, png_bytep dst, size_t count) {
  auto* reader = static_cast<Reader*>(png_get_io_ptr(png));
  if (count > reader->bytes.size() - reader->at) png_error(png, "truncated");
  std::memcpy(dst, reader->bytes.data() + reader->at, count);
  reader->at += count;
}

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  auto* reader = static_cast<Reader*>(png_get_error_ptr(png));
  std::snprintf(reader->error, sizeof(reader->error), "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}  // the pixels are right all the same

// Asks libpng for 8-bit RGB without alpha.
void set_transforms(png_structp png, png_infop info) {
  const int type = png_get_color_type(png, info);
  png_set_strip_16(png);
  if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png);
  if ((type & PNG_COLOR_MASK_COLOR) == 0) {
    png_set_expand_gray_1_2_4_to_8(png);
    png_set_gray_to_rgb(png);
  }
  png_set_strip_alpha(png);
  png_set_interlace_handling(png);
  png_read_update_info(png, info);
}

bool read_header(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's only way
  png_set_read_fn(r.png, &r, read_bytes);
  png_set_user_limits(r.png, 1 << 20, 1 << 20);
  png_read_info(r.png, r.info);
  return true;
}

bool read_pixels(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's only way
  png_read_image(r.png, r.rows.data());
  png_read_end(r.png, nullptr);
  return true;
}

bool prepare(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng's only way
  set_transforms(r.png, r.info);
  return true;
}

Status failure(const Reader& r) {
  return corrupt(fmt::format("{}: broken PNG: {}", *r.name, r.error));
}

}  // namespace

Result<Image> decode_png(std::span<const std::byte> bytes, const std::string& name) {
  Reader r;
  r.bytes = bytes;
  r.name = &name;
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
  if (r.png != nullptr) r.info = png_create_info_struct(r.png);
  if (r.info == nullptr) return out_of_memory(name + ": cannot start the PNG decoder");
  if (!read_header(r)) return failure(r);
  const int64_t height = png_get_image_height(r.png, r.info);
  const int64_t width = png_get_image_width(r.png, r.info);
  PARE_RETURN_IF_ERROR(check_image_size(name, height, width, bytes.size(), kMaxPngPixelsPerByte));
  if (!prepare(r)) return failure(r);
  const auto stride = static_cast<size_t>(width) * 3;
  if (png_get_rowbytes(r.png, r.info) != stride) {
    return unsupported(fmt::format("{}: PNG rows of {} bytes, expected {}", name,
                                   png_get_rowbytes(r.png, r.info), stride));
  }
  Image image{height, width, {}};
  image.pixels.resize(static_cast<size_t>(height) * stride);
  for (int64_t y = 0; y < height; ++y) {
    r.rows.push_back(image.pixels.data() + static_cast<size_t>(y) * stride);
  }
  if (!read_pixels(r)) return failure(r);
  return image;
}

Result<std::vector<std::byte>> encode_png(const Image& image) {
  const size_t expected = static_cast<size_t>(image.height * image.width) * 3;
  if (image.height < 1 || image.width < 1 || image.pixels.size() != expected) {
    return invalid_argument(fmt::format("a picture of {}x{} pixels has {} bytes, found {}",
                                        image.height, image.width, expected, image.pixels.size()));
  }
  png_image description{};
  description.version = PNG_IMAGE_VERSION;
  description.width = static_cast<png_uint_32>(image.width);
  description.height = static_cast<png_uint_32>(image.height);
  description.format = PNG_FORMAT_RGB;
  std::vector<std::byte> bytes(PNG_IMAGE_PNG_SIZE_MAX(description));
  png_alloc_size_t size = bytes.size();
  if (png_image_write_to_memory(&description, bytes.data(), &size, 0, image.pixels.data(), 0,
                                nullptr) == 0) {
    return internal_error(fmt::format("writing a PNG: {}", description.message));
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace pare
