#include "data/untar.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <vector>

#include "base/file.h"

namespace pare {
namespace {

constexpr size_t kBlock = 512;

// The ustar header: offsets and lengths of the fields that matter.
struct TarHeader {
  std::string name;
  int64_t size = 0;
  char type = '0';
};

std::string text_field(std::span<const std::byte> block, size_t at, size_t length) {
  const char* p = reinterpret_cast<const char*>(block.data()) + at;
  return {p, strnlen(p, length)};
}

// Octal digits, padded with spaces or zeros. -1 if there is anything else.
int64_t octal_field(std::span<const std::byte> block, size_t at, size_t length) {
  int64_t value = 0;
  for (const char c : text_field(block, at, length)) {
    if (c == ' ') continue;
    if (c < '0' || c > '7') return -1;
    value = value * 8 + (c - '0');
  }
  return value;
}

// The sum of all bytes, those of the checksum field counted as spaces.
bool checksum_holds(std::span<const std::byte> block) {
  int64_t sum = 0;
  for (size_t i = 0; i < kBlock; ++i) {
    sum += i >= 148 && i < 156 ? ' ' : static_cast<int>(block[i]);
  }
  return sum == octal_field(block, 148, 8);
}

Result<TarHeader> parse_header(std::span<const std::byte> block, const std::string& archive) {
  if (!checksum_holds(block)) {
    return corrupt(archive + ": not a tar archive: a header's checksum is wrong");
  }
  TarHeader header;
  header.name = text_field(block, 0, 100);
  if (text_field(block, 257, 5) == "ustar") {
    const std::string prefix = text_field(block, 345, 155);
    if (!prefix.empty()) header.name = prefix + "/" + header.name;
  }
  header.size = octal_field(block, 124, 12);
  if (header.size < 0) {
    return corrupt(fmt::format("{}: {}: its size is not a number", archive, header.name));
  }
  header.type = static_cast<char>(block[156]);
  return header;
}

bool stays_inside(const std::string& name) {
  const std::filesystem::path path(name);
  return !name.empty() && !path.is_absolute() &&
         std::none_of(path.begin(), path.end(), [](const auto& part) { return part == ".."; });
}

Status take(const TarSource& source, const std::string& archive, std::span<std::byte> room) {
  PARE_ASSIGN_OR_RETURN(const size_t got, source(room));
  if (got == room.size()) return ok_status();
  return corrupt(
      fmt::format("{}: truncated: expected {} more bytes, found {}", archive, room.size(), got));
}

// Copies the body of one entry, padded to whole blocks, into `file` (or nowhere).
Status copy_body(const TarSource& source, const std::string& archive, int64_t size,
                 AtomicFile* file) {
  std::vector<std::byte> buffer(128 * kBlock);
  while (size > 0) {
    const auto wanted = static_cast<size_t>(std::min<int64_t>(size, std::ssize(buffer)));
    const size_t padded = (wanted + kBlock - 1) / kBlock * kBlock;
    PARE_RETURN_IF_ERROR(take(source, archive, std::span(buffer).first(padded)));
    if (file != nullptr) {
      PARE_RETURN_IF_ERROR(file->write(std::span<const std::byte>(buffer).first(wanted)));
    }
    size -= static_cast<int64_t>(wanted);
  }
  return ok_status();
}

Status unpack_entry(const TarSource& source, const std::string& archive, const TarHeader& header,
                    const std::string& folder) {
  const bool is_file = header.type == '0' || header.type == '\0';
  const bool is_folder = header.type == '5';
  if ((is_file || is_folder) && !stays_inside(header.name)) {
    return corrupt(
        fmt::format("{}: \"{}\" leads out of the folder it is unpacked to", archive, header.name));
  }
  const std::filesystem::path path = std::filesystem::path(folder) / header.name;
  if (is_folder) {
    PARE_RETURN_IF_ERROR(make_directories(path.string()));
  }
  if (!is_file) return copy_body(source, archive, header.size, nullptr);
  PARE_RETURN_IF_ERROR(make_directories(path.parent_path().string()));
  PARE_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::create(path.string()));
  PARE_RETURN_IF_ERROR(copy_body(source, archive, header.size, &file));
  return file.commit();
}

}  // namespace

Status unpack_tar(const TarSource& source, const std::string& name, const std::string& folder,
                  int64_t max_bytes) {
  std::vector<std::byte> block(kBlock);
  int64_t total = 0;
  while (true) {
    PARE_RETURN_IF_ERROR(take(source, name, block));
    const bool end =
        std::all_of(block.begin(), block.end(), [](std::byte b) { return b == std::byte{0}; });
    if (end) return ok_status();
    PARE_ASSIGN_OR_RETURN(const TarHeader header, parse_header(block, name));
    if (header.size > max_bytes - total) {
      return corrupt(
          fmt::format("{}: holds more than the {} bytes that are expected of it", name, max_bytes));
    }
    // Every entry costs a header, so that endless empty ones end too.
    total += header.size + static_cast<int64_t>(kBlock);
    PARE_RETURN_IF_ERROR(unpack_entry(source, name, header, folder));
  }
}

Status unpack_tar_gz(const std::string& path, const std::string& folder, int64_t max_bytes) {
  const std::unique_ptr<gzFile_s, int (*)(gzFile)> file(gzopen(path.c_str(), "rb"), gzclose);
  if (file == nullptr) return io_error(path + ": cannot open");
  const TarSource source = [&](std::span<std::byte> room) -> Result<size_t> {
    size_t done = 0;
    while (done < room.size()) {
      const int n =
          gzread(file.get(), room.data() + done, static_cast<unsigned>(room.size() - done));
      if (n < 0) {
        int code = 0;
        return corrupt(fmt::format("{}: broken gzip: {}", path, gzerror(file.get(), &code)));
      }
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  };
  return unpack_tar(source, path, folder, max_bytes);
}

}  // namespace pare
