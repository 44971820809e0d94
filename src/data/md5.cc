#include "data/md5.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <system_error>
#include <vector>

namespace pare {
namespace {

// RFC 1321, section 3.4: T[i] = floor(2^32 |sin(i + 1)|).
std::array<uint32_t, 64> sine_table() {
  std::array<uint32_t, 64> table{};
  for (size_t i = 0; i < 64; ++i) {
    table[i] =
        static_cast<uint32_t>(std::floor(std::abs(std::sin(static_cast<double>(i + 1))) * 0x1p32));
  }
  return table;
}

constexpr int kShifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};

}  // namespace

void Md5::block(const uint8_t* p) {
  static const std::array<uint32_t, 64> table = sine_table();
  uint32_t words[16];
  std::memcpy(words, p, 64);
  auto [a, b, c, d] = state_;
  for (uint32_t i = 0; i < 64; ++i) {
    uint32_t f = 0;
    uint32_t word = 0;
    switch (i / 16) {
      case 0:
        f = (b & c) | (~b & d);
        word = i;
        break;
      case 1:
        f = (b & d) | (c & ~d);
        word = (5 * i + 1) % 16;
        break;
      case 2:
        f = b ^ c ^ d;
        word = (3 * i + 5) % 16;
        break;
      default:
        f = c ^ (b | ~d);
        word = 7 * i % 16;
    }
    const uint32_t turned = std::rotl(a + f + table[i] + words[word], kShifts[i / 16][i % 4]);
    a = d;
    d = c;
    c = b;
    b += turned;
  }
  state_[0] += a;
  state_[1] += b;
  state_[2] += c;
  state_[3] += d;
}

void Md5::update(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const size_t filled = size_ % 64;
    const size_t n = std::min(bytes.size(), 64 - filled);
    std::memcpy(buffer_.data() + filled, bytes.data(), n);
    size_ += n;
    bytes = bytes.subspan(n);
    if (filled + n == 64) block(buffer_.data());
  }
}

std::string Md5::finish() {
  const uint64_t bits = size_ * 8;
  const std::byte one{0x80};
  const std::byte zero{0};
  update({&one, 1});
  while (size_ % 64 != 56) update({&zero, 1});
  update(std::as_bytes(std::span(&bits, 1)));
  std::string text;
  for (const uint32_t word : state_) {
    for (int k = 0; k < 4; ++k) text += fmt::format("{:02x}", word >> (8 * k) & 255U);
  }
  return text;
}

Result<std::string> md5_of_file(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (file == nullptr) {
    return io_error(fmt::format("{}: cannot open: {}", path,
                                std::error_code(errno, std::generic_category()).message()));
  }
  Md5 md5;
  std::vector<std::byte> buffer(1 << 20);
  while (true) {
    const size_t n = std::fread(buffer.data(), 1, buffer.size(), file.get());
    md5.update(std::span(buffer).first(n));
    if (n < buffer.size()) break;
  }
  if (std::ferror(file.get()) != 0) return io_error(path + ": cannot read");
  return md5.finish();
}

}  // namespace pare
