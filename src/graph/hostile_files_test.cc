// Every seed of the fuzzers, cut at each length and with a bit of each byte turned over: readers
// must answer with a graph or a Status, never with a crash. scripts/fuzz.sh goes further.
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "graph/onnx.h"
#include "graph/passes.h"
#include "graph/safetensors.h"
#include "testing/files.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using Bytes = std::vector<std::byte>;

std::vector<Bytes> seeds(const std::string& reader) {
  std::vector<Bytes> files;
  for (const auto& entry :
       fs::directory_iterator(testing_files::source_path("tests/fuzz/corpus/" + reader))) {
    auto bytes = read_file(entry.path().string(), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status().message();
    if (bytes.ok()) files.push_back(*std::move(bytes));
  }
  EXPECT_FALSE(files.empty());
  return files;
}

// Calls read(bytes) on the file, on all its beginnings and on one-bit changes; gives how many of
// the changed ones were read all the same.
template <typename Read>
int try_changes(const Bytes& file, Read read) {
  EXPECT_TRUE(read(file));
  int accepted = 0;
  for (size_t size = 0; size < file.size(); ++size) {
    // A copy of exactly this size lets AddressSanitizer see a read behind its end.
    accepted += read(Bytes(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(size))) ? 1 : 0;
    Bytes flipped = file;
    flipped[size] ^= std::byte{static_cast<uint8_t>(1U << (size % 8))};
    accepted += read(flipped) ? 1 : 0;
  }
  return accepted;
}

TEST(HostileFiles, Onnx) {
  for (const Bytes& seed : seeds("onnx")) {
    const int accepted = try_changes(seed, [](const Bytes& bytes) {
      const auto graph = parse_onnx(bytes, "");
      if (!graph.ok()) {
        EXPECT_FALSE(graph.status().message().empty());
        return false;
      }
      const auto prepared = prepare_for_runtime(*graph);
      EXPECT_TRUE(prepared.ok()) << prepared.status().message();
      EXPECT_TRUE(!prepared.ok() || check_graph(*prepared).ok());
      return true;
    });
    // Bits of weights and names may change freely; structure may not.
    EXPECT_LT(accepted, static_cast<int>(seed.size()));
  }
}

TEST(HostileFiles, Safetensors) {
  for (const Bytes& seed : seeds("safetensors")) {
    try_changes(seed, [](const Bytes& bytes) {
      const std::shared_ptr<std::byte> data(new std::byte[bytes.size() + 1],
                                            std::default_delete<std::byte[]>());
      std::memcpy(data.get(), bytes.data(), bytes.size());
      const auto content = parse_safetensors(data, bytes.size());
      EXPECT_EQ(content.ok(), content.status().message().empty());
      return content.ok();
    });
  }
}

}  // namespace
}  // namespace pare
