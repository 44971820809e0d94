// .pare files, as they are and with the checksums of manifest and footer put right: else nothing
// that is changed would come any further than to those.
#include "graph/pare_file.h"
#include "graph/pare_file_layout.h"
#include "targets.h"

namespace {

bool parse(const std::shared_ptr<std::byte>& file, size_t size) {
  const auto graph =
      pare::parse_pare(file, size, "fuzz", {.threads = 1, .max_decoded_bytes = 64 << 20});
  if (!graph.ok()) return false;
  require(pare::check_graph(*graph).ok());
  for (const auto& [name, tensor] : graph->initializers) {
    touch({tensor.data(), static_cast<size_t>(tensor.byte_count())});
  }
  return true;
}

// False if there is nothing to put right.
bool repair(std::span<std::byte> file) {
  pare::PareFooter footer;
  if (file.size() < pare::kPareHeaderBytes + sizeof(footer)) return false;
  std::byte* end = file.data() + file.size() - sizeof(footer);
  std::memcpy(&footer, end, sizeof(footer));
  if (footer.manifest_offset > file.size() ||
      footer.manifest_stored > file.size() - footer.manifest_offset) {
    return false;
  }
  footer.manifest_hash = XXH3_64bits(file.data() + footer.manifest_offset,
                                     static_cast<size_t>(footer.manifest_stored));
  footer.hash = pare::footer_hash(file.first(pare::kPareHeaderBytes), footer);
  std::memcpy(end, &footer, sizeof(footer));
  return true;
}

}  // namespace

bool fuzz_pare(std::span<const std::byte> bytes) {
  const bool read = parse(aligned_copy(bytes), bytes.size());
  const std::shared_ptr<std::byte> repaired = aligned_copy(bytes);
  if (!read && repair({repaired.get(), bytes.size()})) parse(repaired, bytes.size());
  return read;
}
