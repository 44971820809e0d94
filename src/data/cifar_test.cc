#include "data/cifar.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::HasSubstr;
using testing_files::TemporaryFolder;

constexpr int64_t kRecord10 = 3073;
constexpr int64_t kRecord100 = 3074;

// A file of `bytes` zeros (sparse), with some bytes set.
void make_file(const std::string& path, int64_t bytes,
               const std::vector<std::pair<int64_t, uint8_t>>& set = {}) {
  std::ofstream(path).close();
  std::filesystem::resize_file(path, static_cast<uintmax_t>(bytes));
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  for (const auto& [at, value] : set) {
    file.seekp(at);
    file.put(static_cast<char>(value));
  }
}

void make_cifar10(const std::string& folder) {
  for (int b = 1; b <= 5; ++b) {
    // Record 7 of batch b: label b, red 10 b at (0, 0), blue 200 at (31, 31).
    make_file(folder + "/data_batch_" + std::to_string(b) + ".bin", 10000 * kRecord10,
              {{7 * kRecord10, static_cast<uint8_t>(b)},
               {7 * kRecord10 + 1, static_cast<uint8_t>(10 * b)},
               {8 * kRecord10 - 1, 200}});
  }
  make_file(folder + "/test_batch.bin", 10000 * kRecord10, {{9999 * kRecord10, 9}});
  ASSERT_TRUE(write_file(folder + "/batches.meta.txt",
                         "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n")
                  .ok());
}

TEST(Cifar10, ReadsThePublishersLayout) {
  TemporaryFolder folder;
  make_cifar10(folder.path());
  const auto pair = open_dataset({.path = folder.path()});
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->train->size(), 50000);
  EXPECT_EQ(pair->test->size(), 10000);
  EXPECT_EQ(pair->test->description(), "CIFAR-10 test, 10,000 images");
  EXPECT_EQ(pair->test->label(9999), 9);
  EXPECT_EQ(pair->train->label(30007), 4);
  EXPECT_EQ(pair->train->classes().at(9), "truck");
  std::vector<uint8_t> image(3072);
  ASSERT_TRUE(pair->train->read_image(30007, image).ok());
  EXPECT_EQ(image[0], 40);
  EXPECT_EQ(image[3071], 200);
  EXPECT_FALSE(pair->train->read_image(50000, image).ok());
  EXPECT_FALSE(pair->train->read_image(0, std::span(image).first(3071)).ok());
  EXPECT_NE(pair->train->hash(), pair->test->hash());
}

TEST(Cifar10, FindsTheArchivesFolderInside) {
  TemporaryFolder folder;
  const std::string inner = folder.path("cifar-10-batches-bin");
  std::filesystem::create_directory(inner);
  make_cifar10(inner);
  EXPECT_TRUE(open_dataset({.path = folder.path()}).ok());
}

TEST(Cifar10, NamesWhatIsWrong) {
  TemporaryFolder folder;
  make_cifar10(folder.path());
  const std::string third = folder.path("data_batch_3.bin");
  std::filesystem::resize_file(third, 30729999);
  auto pair = open_dataset({.path = folder.path()});
  EXPECT_EQ(pair.status().code(), StatusCode::kCorrupt);
  EXPECT_EQ(pair.status().message(),
            third + ": expected 30,730,000 bytes (10,000 images of 3073), found 30,729,999");

  make_file(third, 10000 * kRecord10, {{4321 * kRecord10, 10}});
  pair = open_dataset({.path = folder.path()});
  EXPECT_EQ(pair.status().message(), third + ": image 4321 has label 10, expected 0 to 9");

  std::filesystem::remove(third);
  pair = open_dataset({.path = folder.path()});
  EXPECT_EQ(pair.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(pair.status().message(), HasSubstr(third));
}

TEST(Cifar10, AFolderWithoutImagesSaysWhatWasExpected) {
  TemporaryFolder folder;
  auto pair = open_dataset({.path = folder.path()});
  EXPECT_EQ(pair.status().code(), StatusCode::kNotFound);
  EXPECT_THAT(pair.status().message(), HasSubstr("test_batch.bin"));
  pair = open_dataset({.path = folder.path("nowhere")});
  EXPECT_THAT(pair.status().message(), HasSubstr("nowhere: no such folder"));
}

TEST(Cifar100, TakesTheFineLabel) {
  TemporaryFolder folder;
  make_file(folder.path("train.bin"), 50000 * kRecord100,
            {{3 * kRecord100, 19}, {3 * kRecord100 + 1, 99}, {3 * kRecord100 + 2, 77}});
  make_file(folder.path("test.bin"), 10000 * kRecord100);
  std::string names;
  for (int c = 0; c < 100; ++c) names += "class" + std::to_string(c) + "\n";
  ASSERT_TRUE(write_file(folder.path("fine_label_names.txt"), names).ok());
  auto pair = open_dataset({.path = folder.path()});
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->train->size(), 50000);
  EXPECT_EQ(pair->train->label(3), 99);
  std::vector<uint8_t> image(3072);
  ASSERT_TRUE(pair->train->read_image(3, image).ok());
  EXPECT_EQ(image[0], 77);

  ASSERT_TRUE(write_file(folder.path("fine_label_names.txt"), "one\ntwo\n").ok());
  pair = open_dataset({.path = folder.path()});
  EXPECT_THAT(pair.status().message(), HasSubstr("expected 100 class names, found 2"));
}

std::shared_ptr<const MemoryDataset> toy(const std::vector<int32_t>& labels, int classes) {
  std::vector<uint8_t> pixels;
  for (size_t i = 0; i < labels.size(); ++i) {
    for (int k = 0; k < 12; ++k) pixels.push_back(static_cast<uint8_t>(i));
  }
  std::vector<std::string> names;
  for (int c = 0; c < classes; ++c) names.push_back("c" + std::to_string(c));
  auto data = MemoryDataset::create({3, 2, 2}, pixels, labels, names, "toys");
  EXPECT_TRUE(data.ok());
  return *data;
}

TEST(Subset, GivesTheImagesAskedForInOrder) {
  const auto base = toy({0, 1, 0, 1}, 2);
  const auto part = subset(base, {3, 0}, "two");
  ASSERT_EQ(part->size(), 2);
  EXPECT_EQ(part->label(0), 1);
  std::vector<uint8_t> image(12);
  ASSERT_TRUE(part->read_image(0, image).ok());
  EXPECT_EQ(image[5], 3);
  EXPECT_FALSE(part->read_image(2, image).ok());
  EXPECT_NE(part->hash(), subset(base, {0, 3}, "two")->hash());
}

TEST(BalancedSubset, IsEvenSeededAndTakesNoImageTwice) {
  std::vector<int32_t> labels;
  for (int i = 0; i < 90; ++i) labels.push_back(i % 3);
  labels.resize(95, 3);  // a class of five
  const auto base = toy(labels, 4);
  const auto part = balanced_subset(base, 40, 7, "calibration images");
  ASSERT_TRUE(part.ok());
  std::vector<int> counts(4);
  std::set<uint8_t> seen;
  std::vector<uint8_t> image(12);
  for (int64_t i = 0; i < 40; ++i) {
    ++counts[static_cast<size_t>((*part)->label(i))];
    ASSERT_TRUE((*part)->read_image(i, image).ok());
    seen.insert(image[0]);
  }
  EXPECT_THAT(counts, testing::ElementsAre(12, 12, 11, 5));  // 35 left over three classes
  EXPECT_EQ(seen.size(), 40U);
  EXPECT_EQ((*part)->description(), "40 calibration images of: toys (seed 7)");
  EXPECT_EQ((*balanced_subset(base, 40, 7, "x"))->hash(), (*part)->hash());
  EXPECT_NE((*balanced_subset(base, 40, 8, "x"))->hash(), (*part)->hash());
  EXPECT_FALSE(balanced_subset(base, 96, 7, "x").ok());
  EXPECT_FALSE(balanced_subset(base, 0, 7, "x").ok());
}

TEST(Subset, HoldingOutPutsEveryImageOnOneSide) {
  std::vector<int32_t> labels;
  for (int i = 0; i < 60; ++i) labels.push_back(i % 3);
  const auto base = toy(labels, 3);
  const auto parts = hold_out(base, 9, 4);
  ASSERT_TRUE(parts.ok()) << parts.status().message();
  std::multiset<int> seen;
  std::vector<int> held_of_class(3);
  for (const auto& side : {parts->kept, parts->held}) {
    for (int64_t i = 0; i < side->size(); ++i) {
      std::vector<uint8_t> image(12);
      ASSERT_TRUE(side->read_image(i, image).ok());
      EXPECT_EQ(side->label(i), image[0] % 3);
      seen.insert(image[0]);
      if (side == parts->held) ++held_of_class[static_cast<size_t>(side->label(i))];
    }
  }
  EXPECT_EQ(parts->held->size(), 9);
  EXPECT_EQ(seen.size(), 60U);
  EXPECT_EQ(std::set<int>(seen.begin(), seen.end()).size(), 60U);
  EXPECT_EQ(held_of_class, std::vector<int>({3, 3, 3}));
  // The draw is that of balanced_subset, so the two commands agree on what was held out.
  EXPECT_EQ((*balanced_subset(base, 9, 4, "x"))->hash(), parts->held->hash());
  EXPECT_FALSE(hold_out(base, 60, 4).ok());
  EXPECT_FALSE(hold_out(base, 0, 4).ok());
}

TEST(OpenDataset, TakesASeededShareOfTheTrainingImages) {
  const auto quarter = open_dataset({.train_fraction = 0.25, .seed = 3});
  ASSERT_TRUE(quarter.ok()) << quarter.status().message();
  EXPECT_EQ(quarter->train->size(), 1250);
  EXPECT_EQ(quarter->test->size(), 10000);
  EXPECT_THAT(quarter->train->description(), HasSubstr("1,250 training images (25 %)"));
  EXPECT_THAT(quarter->train->description(), HasSubstr("not the full 50,000"));
  EXPECT_EQ(open_dataset({.train_fraction = 1.5}).status().code(), StatusCode::kInvalidArgument);
  EXPECT_EQ(open_dataset({.train_fraction = 0.0}).status().code(), StatusCode::kInvalidArgument);
}

TEST(OpenDataset, ResizesToTheSizeAskedFor) {
  const auto plain = open_dataset({.test_only = true});
  const auto large = open_dataset({.image_size = 48, .test_only = true});
  const auto same = open_dataset({.image_size = 32, .test_only = true});
  ASSERT_TRUE(plain.ok() && large.ok() && same.ok());
  EXPECT_EQ(plain->train, nullptr);
  EXPECT_EQ(same->test->hash(), plain->test->hash());
  EXPECT_EQ(large->test->image_shape(), (ImageShape{3, 48, 48}));
  EXPECT_NE(large->test->hash(), plain->test->hash());
  EXPECT_THAT(large->test->description(), HasSubstr("resized to 48x48"));
  std::vector<uint8_t> small(3072);
  std::vector<uint8_t> image(3 * 48 * 48);
  ASSERT_TRUE(plain->test->read_image(5, small).ok());
  ASSERT_TRUE(large->test->read_image(5, image).ok());
  double mean_small = 0;  // of the blue plane, which resizing keeps about the same
  double mean_large = 0;
  for (size_t i = 2048; i < 3072; ++i) mean_small += small[i] / 1024.0;
  for (size_t i = 2 * 48 * 48; i < image.size(); ++i) mean_large += image[i] / 2304.0;
  EXPECT_NEAR(mean_large, mean_small, 1.0);
  EXPECT_FALSE(open_dataset({.image_size = 48, .resize = 40}).ok());
}

TEST(MemoryDataset, RefusesWrongSizesAndLabels) {
  EXPECT_FALSE(MemoryDataset::create({3, 1, 1}, {1, 2}, {0}, {"a"}, "x").ok());
  EXPECT_FALSE(MemoryDataset::create({3, 1, 1}, {1, 2, 3}, {1}, {"a"}, "x").ok());
  EXPECT_FALSE(MemoryDataset::create({3, 1, 1}, {1, 2, 3}, {-1}, {"a"}, "x").ok());
  EXPECT_TRUE(MemoryDataset::create({3, 1, 1}, {1, 2, 3}, {0}, {"a"}, "x").ok());
}

}  // namespace
}  // namespace pare
