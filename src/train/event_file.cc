#include "train/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <protozero/pbf_writer.hpp>

namespace pare {
namespace {

// Castagnoli's polynomial, bits reversed.
constexpr uint32_t kPolynomial = 0x82f63b78U;
constexpr uint32_t kMaskDelta = 0xa282ead8U;

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = (c >> 1) ^ ((c & 1U) != 0 ? kPolynomial : 0U);
    table[i] = c;
  }
  return table;
}

uint32_t masked_crc(std::span<const std::byte> bytes) {
  return std::rotr(crc32c(bytes), 15) + kMaskDelta;
}

template <typename T>
void append_raw(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

double wall_time() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

uint32_t crc32c(std::span<const std::byte> bytes) {
  static constexpr std::array<uint32_t, 256> table = make_crc_table();
  uint32_t c = 0xffffffffU;
  for (std::byte b : bytes) c = (c >> 8) ^ table[(c ^ static_cast<uint32_t>(b)) & 0xffU];
  return c ^ 0xffffffffU;
}

Result<EventFile> EventFile::create(const std::string& folder) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) std::strcpy(host.data(), "localhost");
  const double now = wall_time();
  EventFile file;
  // The process number keeps two runs of one second apart.
  file.path_ = fmt::format("{}/events.out.tfevents.{:010d}.{}.{}", folder,
                           static_cast<int64_t>(now), host.data(), getpid());
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, now);
  writer.add_string(3, "brain.Event:2");
  PARE_RETURN_IF_ERROR(file.append(event));
  return file;
}

Status EventFile::add(int64_t step, std::span<const std::pair<std::string, double>> scalars) {
  std::string event;
  protozero::pbf_writer writer(event);
  writer.add_double(1, wall_time());
  writer.add_int64(2, step);
  {
    protozero::pbf_writer summary(writer, 5);
    for (const auto& [tag, value] : scalars) {
      protozero::pbf_writer entry(summary, 1);
      entry.add_string(1, tag);
      entry.add_float(2, static_cast<float>(value));
    }
  }
  return append(event);
}

Status EventFile::append(const std::string& event) const {
  std::string record;
  append_raw(record, static_cast<uint64_t>(event.size()));
  append_raw(record, masked_crc(std::as_bytes(std::span(record))));
  record += event;
  append_raw(record, masked_crc(std::as_bytes(std::span(event))));
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path_.c_str(), "ab"),
                                                             &std::fclose);
  if (file == nullptr ||
      std::fwrite(record.data(), 1, record.size(), file.get()) != record.size() ||
      std::fflush(file.get()) != 0) {
    return io_error(fmt::format("{}: cannot write: {}", path_, std::strerror(errno)));
  }
  return ok_status();
}

}  // namespace pare
