#include "data/image_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing_files::fixture_path;
using testing_files::TemporaryFolder;

class ImageFolder : public testing::Test {
 protected:
  void SetUp() override { setenv("XDG_CACHE_HOME", folder_.path("cache").c_str(), 1); }

  // Copies a fixture to data/<to>.
  void put(const std::string& to, const std::string& fixture = "photo.png") {
    const fs::path path = data("") + to;
    fs::create_directories(path.parent_path());
    fs::copy_file(fixture_path("data/images/" + fixture), path);
  }
  void put_text(const std::string& to, const std::string& text) {
    fs::create_directories(fs::path(data(to)).parent_path());
    ASSERT_TRUE(write_file(data(to), text).ok());
  }
  std::string data(const std::string& name) const { return folder_.path("data/" + name); }

  Result<DatasetPair> open(uint64_t seed = 0, bool strict = false) const {
    return open_dataset(
        {.path = folder_.path("data"), .image_size = 8, .seed = seed, .strict = strict});
  }

  TemporaryFolder folder_;
};

std::vector<uint8_t> pixels_of(const Dataset& data, int64_t i) {
  std::vector<uint8_t> pixels(static_cast<size_t>(data.image_shape().size()));
  EXPECT_TRUE(data.read_image(i, pixels).ok());
  return pixels;
}

TEST_F(ImageFolder, ReadsTrainAndVal) {
  put("train/dog/b.png", "grey.png");
  put("train/dog/a.JPG", "jpeg_444.jpg");
  put("train/cat/deep/er/x.jpeg", "exif_6.jpg");
  put("train/.hidden/x.png");
  put("train/cat/.thumb.png");
  put_text("train/cat/notes.txt", "not a picture");
  put("val/dog/c.png");
  const auto pair = open();
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_THAT(pair->warnings, IsEmpty());
  EXPECT_THAT(pair->train->classes(), ElementsAre("cat", "dog"));
  ASSERT_EQ(pair->train->size(), 3);
  EXPECT_EQ(pair->train->label(0), 0);
  EXPECT_EQ(pair->train->label(1), 1);
  EXPECT_EQ(pair->train->description(),
            data("").substr(0, data("").size() - 1) + " training, 3 images");
  // Files of a class stand in the order of their names: a.JPG, b.png.
  std::vector<uint8_t> expected(3 * 8 * 8);
  ASSERT_TRUE(
      prepare_image(data("train/dog/b.png"), {.height = 8, .width = 8, .resize = 8}, expected)
          .ok());
  EXPECT_EQ(pixels_of(*pair->train, 2), expected);
  // val has no cat; its dogs keep the number that training gave them.
  ASSERT_EQ(pair->test->size(), 1);
  EXPECT_EQ(pair->test->label(0), 1);
  EXPECT_EQ(pair->test->classes(), pair->train->classes());
}

TEST_F(ImageFolder, BrokenPicturesAreNamedAndCounted) {
  put("train/a/1.png");
  put("train/a/3.png", "grey.png");
  put("val/a/1.png");
  put_text("train/a/2.png", "this is no picture");
  put_text("train/a/4.jpg", "");
  auto pair = open();
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->train->size(), 2);
  EXPECT_THAT(pair->train->description(), HasSubstr("2 images (2 broken left out)"));
  ASSERT_EQ(pair->warnings.size(), 3U);
  EXPECT_THAT(pair->warnings[0], HasSubstr("train/a/2.png: neither a JPEG nor a PNG"));
  EXPECT_THAT(pair->warnings[1], HasSubstr("train/a/4.jpg: an empty file"));
  EXPECT_THAT(pair->warnings[2], HasSubstr("2 of 4 pictures are broken"));
  // The sound ones moved together: the second is the grey one.
  std::vector<uint8_t> expected(3 * 8 * 8);
  ASSERT_TRUE(
      prepare_image(data("train/a/3.png"), {.height = 8, .width = 8, .resize = 8}, expected).ok());
  EXPECT_EQ(pixels_of(*pair->train, 1), expected);

  pair = open(0, true);
  ASSERT_FALSE(pair.ok());
  EXPECT_THAT(pair.status().message(), HasSubstr("train/a/2.png"));
}

TEST_F(ImageFolder, AllBrokenIsAnError) {
  put_text("train/a/1.png", "x");
  put("val/a/1.png");
  EXPECT_THAT(open().status().message(), HasSubstr("none of the 1 pictures can be read"));
}

TEST_F(ImageFolder, UnknownClassInValIsNamed) {
  put("train/a/1.png");
  put("val/b/1.png");
  EXPECT_THAT(open().status().message(), HasSubstr("val/b: there is no class of that name"));
}

TEST_F(ImageFolder, NoPicturesSaysWhatIsExpected) {
  fs::create_directories(data("cats"));
  EXPECT_THAT(open().status().message(), HasSubstr("expected <class>/*.jpg"));
}

std::vector<std::string> test_lines(const std::string& split) {
  std::vector<std::string> lines;
  size_t at = 0;
  while ((at = split.find("\ntest ", at)) != std::string::npos) {
    const size_t end = split.find('\n', at + 1);
    lines.push_back(split.substr(at + 6, end - at - 6));
    ++at;
  }
  return lines;
}

TEST_F(ImageFolder, OneFolderIsSplitBySeedAndTheSplitIsKept) {
  for (int i = 0; i < 10; ++i) put("a/" + std::to_string(i) + ".png");
  for (int i = 0; i < 5; ++i) put("b/" + std::to_string(i) + ".png");
  auto pair = open(3);
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->test->size(), 3);  // two of class a, one of b
  EXPECT_EQ(pair->train->size(), 12);
  const auto before = test_lines(*read_text_file(data("pare-split-3.txt")));
  ASSERT_EQ(before.size(), 3U);

  // More pictures: those that had a side keep it, the new ones fill up the fifth.
  for (int i = 10; i < 20; ++i) put("a/" + std::to_string(i) + ".png");
  put("a/00.png");
  pair = open(3);
  ASSERT_TRUE(pair.ok());
  EXPECT_EQ(pair->test->size(), 5);  // four of 21, one of five
  const auto after = test_lines(*read_text_file(data("pare-split-3.txt")));
  for (const auto& line : before) EXPECT_THAT(after, testing::Contains(line));

  // Another seed is another split; the user's own file decides.
  ASSERT_TRUE(open(4).ok());
  EXPECT_NE(test_lines(*read_text_file(data("pare-split-4.txt"))), after);
  ASSERT_TRUE(write_file(data("pare-split-3.txt"), "garbage here\n").ok());
  EXPECT_THAT(open(3).status().message(), HasSubstr("pare-split-3.txt:1: expected"));
}

TEST_F(ImageFolder, SplitGoesToTheCacheWhereTheFolderCannotBeWritten) {
  put("a/1.png");
  put("a/2.png");
  const auto listing = list_image_folder(data("").substr(0, data("").size() - 1));
  ASSERT_TRUE(listing.ok());
  std::vector<std::string> warnings;
  const std::string nowhere = folder_.path("missing/split.txt");
  const std::string fallback = folder_.path("cache/splits/x.txt");
  const auto first = split_listing(*listing, 1, nowhere, fallback, warnings);
  ASSERT_TRUE(first.ok()) << first.status().message();
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr(fallback));
  EXPECT_EQ(std::count(first->begin(), first->end(), true), 1);
  EXPECT_EQ(*split_listing(*listing, 1, nowhere, fallback, warnings), *first);
  EXPECT_EQ(warnings.size(), 1U);  // nothing changed, nothing to say
}

// Beyond the memory budget the pictures are decoded when read; what one sees is the same.
TEST_F(ImageFolder, LargeFoldersAreReadFromFiles) {
  put("a/1.png");
  put_text("a/2.png", "broken");
  put("b/3.jpg", "jpeg_420.jpg");
  const auto listing = list_image_folder(data("").substr(0, data("").size() - 1));
  ASSERT_TRUE(listing.ok());
  FolderOptions options;
  options.fit = {3, 8, 8, 8};
  options.description = "toys";
  std::vector<std::string> warnings;
  const auto kept = open_image_files(*listing, options, warnings);
  options.memory_budget_bytes = 100;
  for (int round = 0; round < 2; ++round) {  // the second finds the stored inspection
    std::vector<std::string> again;
    const auto from_files = open_image_files(*listing, options, again);
    ASSERT_TRUE(kept.ok() && from_files.ok());
    EXPECT_EQ(again, warnings);
    ASSERT_EQ((*from_files)->size(), 2);
    EXPECT_EQ((*from_files)->description(), (*kept)->description());
    for (int64_t i = 0; i < 2; ++i) {
      EXPECT_EQ((*from_files)->label(i), (*kept)->label(i));
      EXPECT_EQ(pixels_of(**from_files, i), pixels_of(**kept, i));
    }
  }
  // Another size is another inspection: what can be fitted depends on it.
  options.fit = {3, 4, 4, 4};
  ASSERT_TRUE(open_image_files(*listing, options, warnings).ok());
  const fs::directory_iterator inspected(folder_.path("cache/pare/inspected"));
  EXPECT_EQ(std::distance(begin(inspected), end(inspected)), 2);
}

TEST_F(ImageFolder, ThreadsChangeNothing) {
  for (int i = 0; i < 20; ++i) {
    put("train/a/" + std::to_string(i) + ".png", i % 2 == 0 ? "photo.png" : "grey.png");
  }
  put("val/a/1.png");
  DatasetOptions options{.path = data("").substr(0, data("").size() - 1), .image_size = 8};
  options.threads = 1;
  const auto one = open_dataset(options);
  options.threads = 4;
  const auto four = open_dataset(options);
  ASSERT_TRUE(one.ok() && four.ok());
  EXPECT_EQ(one->train->hash(), four->train->hash());
}

}  // namespace
}  // namespace pare
