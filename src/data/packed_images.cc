#include "data/packed_images.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/file.h"
#include "base/thread_pool.h"

namespace pare {
namespace {

constexpr int64_t kMaxFileBytes = int64_t{1} << 30;
constexpr uint32_t kMaxSide = 1024;
constexpr uint32_t kMaxImages = 1U << 20;
constexpr uint64_t kMaxPixelBytes = uint64_t{1} << 32;

struct Header {
  uint32_t version, images, channels, height, width, images_per_block, classes;
};

struct Block {
  size_t begin = 0;  // in the file
  size_t size = 0;
};

struct Layout {
  Header header{};
  std::vector<std::string> classes;
  std::string hash;
  std::vector<Block> blocks;
};

// Takes bytes from the front, never beyond the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, std::string name)
      : bytes_(bytes), name_(std::move(name)) {}

  Result<std::span<const std::byte>> take(size_t count, const char* what) {
    if (count > bytes_.size() - at_) {
      return corrupt(fmt::format("{}: truncated in {}: expected {} bytes at {}, found {}", name_,
                                 what, count, at_, bytes_.size() - at_));
    }
    const auto part = bytes_.subspan(at_, count);
    at_ += count;
    return part;
  }
  template <typename T>
  Result<T> take_value(const char* what) {
    PARE_ASSIGN_OR_RETURN(const auto part, take(sizeof(T), what));
    T value;
    std::memcpy(&value, part.data(), sizeof(T));
    return value;
  }
  size_t position() const { return at_; }

 private:
  std::span<const std::byte> bytes_;
  std::string name_;
  size_t at_ = 0;
};

Status check_header(const Header& h, const std::string& name) {
  if (h.version != 1) {
    return unsupported(fmt::format("{}: version {}, this program reads 1", name, h.version));
  }
  const uint64_t pixels = uint64_t{h.images} * h.channels * h.height * h.width;
  if (h.channels != 3 || h.height < 1 || h.height > kMaxSide || h.width < 1 || h.width > kMaxSide ||
      h.images < 1 || h.images > kMaxImages || h.images_per_block < 1 || h.classes < 1 ||
      h.classes > 256 || pixels > kMaxPixelBytes) {
    return corrupt(fmt::format(
        "{}: {} images of {}x{}x{}, {} a block, {} classes: expected 3 channels, sides of 1 to {}, "
        "1 to {} images, at least 1 a block, 1 to 256 classes, at most {} bytes of pixels",
        name, h.images, h.channels, h.height, h.width, h.images_per_block, h.classes, kMaxSide,
        kMaxImages, kMaxPixelBytes));
  }
  return ok_status();
}

Result<Layout> read_layout(std::span<const std::byte> bytes, const std::string& name) {
  Cursor cursor(bytes, name);
  PARE_ASSIGN_OR_RETURN(const auto magic, cursor.take(8, "the signature"));
  if (std::memcmp(magic.data(), "PAREIMGS", 8) != 0) {
    return corrupt(name + ": not a .pimg file: it does not begin with PAREIMGS");
  }
  Layout layout;
  PARE_ASSIGN_OR_RETURN(layout.header, cursor.take_value<Header>("the header"));
  PARE_RETURN_IF_ERROR(check_header(layout.header, name));
  for (uint32_t c = 0; c < layout.header.classes; ++c) {
    PARE_ASSIGN_OR_RETURN(const auto length, cursor.take_value<uint16_t>("the class names"));
    PARE_ASSIGN_OR_RETURN(const auto text, cursor.take(length, "the class names"));
    layout.classes.emplace_back(reinterpret_cast<const char*>(text.data()), text.size());
  }
  PARE_ASSIGN_OR_RETURN(const auto hash, cursor.take(16, "the checksum"));
  for (const std::byte b : hash) layout.hash += fmt::format("{:02x}", static_cast<unsigned>(b));
  const uint32_t per_block = layout.header.images_per_block;
  const uint32_t count = (layout.header.images - 1) / per_block + 1;
  for (uint32_t b = 0; b < count; ++b) {
    PARE_ASSIGN_OR_RETURN(const auto size, cursor.take_value<uint32_t>("the block sizes"));
    layout.blocks.push_back({0, size});
  }
  for (Block& block : layout.blocks) {
    block.begin = cursor.position();
    PARE_RETURN_IF_ERROR(cursor.take(block.size, "the images").status());
  }
  if (cursor.position() != bytes.size()) {
    return corrupt(
        fmt::format("{}: expected {} bytes, found {}", name, cursor.position(), bytes.size()));
  }
  return layout;
}

// Undoes the prediction of one plane in place.
void undo_prediction(int8_t* plane, int64_t height, int64_t width) {
  int8_t before = 0;
  for (int64_t x = 0; x < width; ++x) before = plane[x] = static_cast<int8_t>(plane[x] + before);
  for (int64_t y = 1; y < height; ++y) {
    int8_t* row = plane + y * width;
    const int8_t* above = row - width;
    row[0] = static_cast<int8_t>(row[0] + above[0]);
    for (int64_t x = 1; x < width; ++x) {
      const int a = row[x - 1];
      const int b = above[x];
      const int c = above[x - 1];
      // The median of a, b and a + b - c is the three-way rule of the header.
      const int low = std::min(a, b);
      const int high = std::max(a, b);
      const int guess = std::clamp(a + b - c, low, high);
      row[x] = static_cast<int8_t>(row[x] + guess);
    }
  }
}

// Decodes a block's `count` images into records (label byte, then CHW pixels).
void unpack_block(std::vector<uint8_t>& raw, int64_t count, const Header& h, uint8_t* records) {
  const int64_t plane = int64_t{h.height} * h.width;
  const int64_t record = 1 + 3 * plane;
  int8_t* planes[3];
  for (int p = 0; p < 3; ++p) {
    planes[p] = reinterpret_cast<int8_t*>(raw.data()) + count + p * count * plane;
    for (int64_t i = 0; i < count; ++i) undo_prediction(planes[p] + i * plane, h.height, h.width);
  }
  for (int64_t i = 0; i < count; ++i) {
    uint8_t* dst = records + i * record;
    *dst++ = raw[static_cast<size_t>(i)];
    for (int64_t k = 0; k < plane; ++k) {
      const auto green = static_cast<uint8_t>(planes[0][i * plane + k] + 128);
      dst[k] = static_cast<uint8_t>(planes[1][i * plane + k] + green);
      dst[plane + k] = green;
      dst[2 * plane + k] = static_cast<uint8_t>(planes[2][i * plane + k] + green);
    }
  }
}

Status decode_block(std::span<const std::byte> packed, int64_t count, const Header& h,
                    uint8_t* records) {
  const int64_t expected = count * (1 + 3 * int64_t{h.height} * h.width);
  if (ZSTD_getFrameContentSize(packed.data(), packed.size()) != static_cast<uint64_t>(expected)) {
    return corrupt(fmt::format("is not a zstd frame of {} bytes", expected));
  }
  std::vector<uint8_t> raw(static_cast<size_t>(expected));
  const size_t got = ZSTD_decompress(raw.data(), raw.size(), packed.data(), packed.size());
  if (ZSTD_isError(got) != 0) return corrupt(ZSTD_getErrorName(got));
  if (got != raw.size()) return corrupt(fmt::format("expected {} bytes, found {}", expected, got));
  unpack_block(raw, count, h, records);
  return ok_status();
}

}  // namespace

Result<std::shared_ptr<const MemoryDataset>> decode_packed_images(std::span<const std::byte> bytes,
                                                                  const std::string& name,
                                                                  const std::string& description,
                                                                  int threads) {
  PARE_ASSIGN_OR_RETURN(const Layout layout, read_layout(bytes, name));
  const Header& h = layout.header;
  // A zstd block of 4 bytes can stand for 128 KiB at most: what claims to hold more is refused
  // before memory is taken.
  constexpr uint64_t kMaxRatio = 32768;
  const ImageShape shape{3, h.height, h.width};
  const int64_t record = 1 + shape.size();
  if (static_cast<uint64_t>(record * h.images) > kMaxRatio * bytes.size()) {
    return corrupt(fmt::format("{}: {} bytes cannot hold {} images of {}", name, bytes.size(),
                               h.images, record));
  }
  for (size_t b = 0; b < layout.blocks.size(); ++b) {
    const int64_t first = static_cast<int64_t>(b) * h.images_per_block;
    const int64_t count = std::min<int64_t>(h.images_per_block, h.images - first);
    const auto part = bytes.subspan(layout.blocks[b].begin, layout.blocks[b].size);
    if (ZSTD_getFrameContentSize(part.data(), part.size()) !=
        static_cast<uint64_t>(count * record)) {
      return corrupt(
          fmt::format("{}: block {} is not a zstd frame of {} bytes", name, b, count * record));
    }
  }
  std::vector<uint8_t> records(static_cast<size_t>(record * h.images));
  std::vector<Status> failures(layout.blocks.size());
  ThreadPool pool(threads > 0 ? threads : available_cores());
  pool.run(static_cast<int64_t>(layout.blocks.size()), [&](int64_t b, int) {
    const int64_t first = b * h.images_per_block;
    const Block& block = layout.blocks[static_cast<size_t>(b)];
    failures[static_cast<size_t>(b)] =
        decode_block(bytes.subspan(block.begin, block.size),
                     std::min<int64_t>(h.images_per_block, h.images - first), h,
                     records.data() + first * record);
  });
  for (size_t b = 0; b < failures.size(); ++b) {
    PARE_RETURN_IF_ERROR(failures[b].with_context(fmt::format("{}: block {}", name, b)));
  }
  const std::string hash = hash_bytes(std::as_bytes(std::span(records)));
  if (hash != layout.hash) {
    return corrupt(
        fmt::format("{}: checksum of the images is {}, expected {}", name, hash, layout.hash));
  }
  std::vector<int32_t> labels(h.images);
  std::vector<uint8_t> pixels(static_cast<size_t>(shape.size() * h.images));
  for (int64_t i = 0; i < h.images; ++i) {
    labels[static_cast<size_t>(i)] = records[static_cast<size_t>(i * record)];
    std::memcpy(pixels.data() + i * shape.size(), records.data() + i * record + 1,
                static_cast<size_t>(shape.size()));
  }
  return MemoryDataset::create(shape, std::move(pixels), std::move(labels), layout.classes,
                               description);
}

Result<std::shared_ptr<const MemoryDataset>> read_packed_images(const std::string& path,
                                                                const std::string& description,
                                                                int threads) {
  PARE_ASSIGN_OR_RETURN(const auto bytes, read_file(path, kMaxFileBytes));
  return decode_packed_images(bytes, path, description, threads);
}

}  // namespace pare
