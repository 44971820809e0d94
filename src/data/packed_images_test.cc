#include "data/packed_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <set>

#include "base/file.h"
#include "base/rng.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::HasSubstr;
using testing_files::fixture_path;

std::vector<std::byte> fixture(const std::string& name) {
  auto bytes = read_file(fixture_path("data/" + name), 1 << 20);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  return *bytes;
}

// The fixture was packed by scripts/make_builtin_data.py, which shares no code with the reader.
TEST(PackedImages, GivesBackTheRecordsTheScriptPacked) {
  const auto records = fixture("tiny.bin");
  for (const int threads : {1, 3}) {
    const auto data = read_packed_images(fixture_path("data/tiny.pimg"), "toys", threads);
    ASSERT_TRUE(data.ok()) << data.status().message();
    EXPECT_THAT((*data)->classes(), testing::ElementsAre("cat", "dog", "føx"));
    EXPECT_EQ((*data)->description(), "toys");
    ASSERT_EQ((*data)->size(), 7);
    std::vector<uint8_t> image(3072);
    for (int64_t i = 0; i < 7; ++i) {
      const std::byte* record = records.data() + i * 3073;
      EXPECT_EQ((*data)->label(i), static_cast<int32_t>(record[0]));
      ASSERT_TRUE((*data)->read_image(i, image).ok());
      EXPECT_EQ(std::memcmp(image.data(), record + 1, 3072), 0) << "image " << i;
    }
  }
}

TEST(PackedImages, TruncationAtEveryLengthIsRefused) {
  const auto whole = fixture("tiny.pimg");
  for (size_t n = 0; n < whole.size(); ++n) {
    const auto data = decode_packed_images(std::span(whole).first(n), "cut", "toys", 1);
    ASSERT_FALSE(data.ok()) << n << " bytes";
    ASSERT_THAT(data.status().message(), HasSubstr("cut: "));
  }
}

// Every byte of the file matters, but for the spelling of the class names.
TEST(PackedImages, AnyChangedByteIsRefused) {
  const auto whole = fixture("tiny.pimg");
  const size_t names_begin = 36;
  const size_t names_end = names_begin + 3 * 2 + 3 + 3 + 4;
  for (size_t n = 0; n < whole.size(); ++n) {
    if (n >= names_begin && n < names_end) continue;
    auto changed = whole;
    changed[n] ^= std::byte{0x41};
    ASSERT_FALSE(decode_packed_images(changed, "bad", "toys", 1).ok()) << "byte " << n;
  }
}

TEST(PackedImages, ASmallFileCannotClaimManyImages) {
  auto bytes = fixture("tiny.pimg");
  const uint32_t many = 1U << 20;
  std::memcpy(bytes.data() + 12, &many, 4);  // images
  std::memcpy(bytes.data() + 28, &many, 4);  // images per block
  const auto data = decode_packed_images(bytes, "bomb", "toys", 1);
  ASSERT_FALSE(data.ok());
  EXPECT_EQ(data.status().code(), StatusCode::kCorrupt);
}

TEST(BuiltIn, HoldsTheTestSetAndFiveThousandBalancedTrainingImages) {
  const auto pair = open_dataset({});
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->test->size(), 10000);
  EXPECT_EQ(pair->train->size(), 5000);
  EXPECT_THAT(pair->train->description(), HasSubstr("not the full 50,000"));
  EXPECT_EQ(pair->train->classes().at(3), "cat");
  std::map<int32_t, int> train_counts;
  std::map<int32_t, int> test_counts;
  for (int64_t i = 0; i < 5000; ++i) ++train_counts[pair->train->label(i)];
  for (int64_t i = 0; i < 10000; ++i) ++test_counts[pair->test->label(i)];
  for (int32_t c = 0; c < 10; ++c) {
    EXPECT_EQ(train_counts[c], 500);
    EXPECT_EQ(test_counts[c], 1000);
  }
}

// Against the full set in the publisher's layout, where PARE_DATA names it.
TEST(BuiltIn, ImagesAreThoseOfTheFullSet) {
  const char* folder = std::getenv("PARE_DATA");
  if (folder == nullptr) GTEST_SKIP() << "PARE_DATA does not name the full CIFAR-10";
  const auto built_in = open_dataset({});
  const auto full = open_dataset({.path = folder});
  ASSERT_TRUE(built_in.ok() && full.ok());
  const auto key = [](const Dataset& data, int64_t i) {
    std::vector<uint8_t> image(3072);
    EXPECT_TRUE(data.read_image(i, image).ok());
    return hash_bytes(std::as_bytes(std::span(image))) + std::to_string(data.label(i));
  };
  for (const auto& [small, large] :
       {std::pair(built_in->train, full->train), std::pair(built_in->test, full->test)}) {
    std::multiset<std::string> keys;
    for (int64_t i = 0; i < large->size(); ++i) keys.insert(key(*large, i));
    for (int64_t i = 0; i < small->size(); ++i) {
      const auto found = keys.find(key(*small, i));
      ASSERT_NE(found, keys.end()) << small->description() << ", image " << i;
      keys.erase(found);
    }
  }
}

}  // namespace
}  // namespace pare
