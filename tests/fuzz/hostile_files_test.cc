// Every seed of every fuzz target, cut at each length and with a bit of each byte turned over:
// readers must answer with what they read or with a Status, never with a crash. scripts/fuzz.sh
// goes further.
#include <gtest/gtest.h>

#include <vector>

#include "base/file.h"
#include "targets.h"
#include "testing/files.h"

namespace pare {
namespace {

using Bytes = std::vector<std::byte>;
using Target = bool (*)(std::span<const std::byte>);

std::vector<Bytes> seeds(const std::string& reader) {
  std::vector<Bytes> files;
  for (const auto& entry : std::filesystem::directory_iterator(
           testing_files::source_path("tests/fuzz/corpus/" + reader))) {
    auto bytes = read_file(entry.path().string(), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status().message();
    if (bytes.ok()) files.push_back(*std::move(bytes));
  }
  EXPECT_FALSE(files.empty());
  return files;
}

struct Reader {
  const char* name;
  Target target;
};

constexpr Reader kReaders[] = {
#define PARE_FUZZ(name) {#name, fuzz_##name},
#include "targets.inc"
#undef PARE_FUZZ
};

class HostileFiles : public ::testing::TestWithParam<Reader> {};

TEST_P(HostileFiles, AreAnswered) {
  const Target target = GetParam().target;
  for (const Bytes& seed : seeds(GetParam().name)) {
    EXPECT_TRUE(target(seed));
    for (size_t size = 0; size < seed.size(); ++size) {
      // A copy of exactly this size lets AddressSanitizer see a read behind its end.
      target(Bytes(seed.begin(), seed.begin() + static_cast<std::ptrdiff_t>(size)));
      Bytes flipped = seed;
      flipped[size] ^= std::byte{static_cast<uint8_t>(1U << (size % 8))};
      target(flipped);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Readers, HostileFiles, ::testing::ValuesIn(kReaders),
                         [](const auto& reader) { return std::string(reader.param.name); });

}  // namespace
}  // namespace pare
