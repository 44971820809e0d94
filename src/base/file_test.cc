#include "base/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace pare {
namespace {

namespace fs = std::filesystem;

class FileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("pare_file_test_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  fs::path folder_;
};

TEST_F(FileTest, WritesWholeOrNotAtAll) {
  ASSERT_TRUE(write_file(path("a"), "first").ok());
  {
    auto file = AtomicFile::create(path("a"));
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE(file->write("half").ok());
    // dropped without commit()
  }
  EXPECT_EQ(*read_text_file(path("a")), "first");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

// As any file is made, whatever the name it had before.
TEST_F(FileTest, HasTheModeOfOrdinaryFiles) {
  const mode_t before = ::umask(027);
  EXPECT_TRUE(write_file(path("a"), "x").ok());
  EXPECT_EQ(::umask(before), mode_t{027});
  struct stat info {};
  ASSERT_EQ(::stat(path("a").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, mode_t{0640});
}

TEST_F(FileTest, ErrorsNameTheFile) {
  const auto missing = read_text_file(path("missing"));
  EXPECT_EQ(missing.status().code(), StatusCode::kNotFound);
  EXPECT_NE(missing.status().message().find(path("missing")), std::string::npos);
  EXPECT_NE(read_text_file(folder_.string()).status().message().find("folder"), std::string::npos);
  const Status nowhere = write_file(path("no/such/folder"), "x");
  EXPECT_FALSE(nowhere.ok());
  EXPECT_NE(nowhere.message().find(path("no/such/folder")), std::string::npos);
}

TEST_F(FileTest, ReadingIsBounded) {
  ASSERT_TRUE(write_file(path("big"), std::string(1000, 'x')).ok());
  EXPECT_EQ(read_file(path("big"), 999).status().code(), StatusCode::kCorrupt);
  EXPECT_TRUE(read_file(path("big"), 1000).ok());
}

TEST_F(FileTest, AFullDiskIsAnError) {
  // /dev/full refuses every write as a full disk does.
  const Status status = append_line("/dev/full", "x");
  EXPECT_EQ(status.code(), StatusCode::kIo);
  EXPECT_NE(status.message().find("/dev/full"), std::string::npos);
}

TEST_F(FileTest, APipeIsWrittenToAndNotReplaced) {
  const std::string pipe = path("pipe");
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDONLY | O_NONBLOCK);
  ASSERT_GE(reader, 0);
  const Status status = write_file(pipe, "through");
  EXPECT_TRUE(status.ok()) << status.message();
  char text[8] = {};
  EXPECT_EQ(::read(reader, text, sizeof text), 7);
  EXPECT_STREQ(text, "through");
  ::close(reader);
  EXPECT_TRUE(fs::is_fifo(pipe));
  EXPECT_EQ(write_file(folder_.string(), "x").code(), StatusCode::kIo);
}

TEST_F(FileTest, MappingOutlivesTheObject) {
  ASSERT_TRUE(write_file(path("m"), "mapped").ok());
  std::shared_ptr<const std::byte> data;
  {
    auto file = MappedFile::open(path("m"));
    ASSERT_TRUE(file.ok());
    EXPECT_EQ(file->bytes().size(), 6U);
    data = file->data();
  }
  EXPECT_EQ(static_cast<char>(data.get()[0]), 'm');
}

// XXH3's published test: the 128-bit hash of no bytes.
TEST_F(FileTest, HashIsXxh3) { EXPECT_EQ(hash_bytes({}), "99aa06d3014798d86001c324468d497f"); }

TEST_F(FileTest, LinesAreAppended) {
  ASSERT_TRUE(append_line(path("log"), "one").ok());
  ASSERT_TRUE(append_line(path("log"), "two").ok());
  EXPECT_EQ(*read_text_file(path("log")), "one\ntwo\n");
}

TEST_F(FileTest, WhetherSomethingCanBeWrittenIsKnownBefore) {
  ASSERT_TRUE(write_file(path("a"), "x").ok());
  EXPECT_TRUE(check_can_write(path("a")).ok());
  EXPECT_TRUE(check_can_write(path("new")).ok());
  EXPECT_TRUE(check_can_write("/dev/null").ok());
  EXPECT_EQ(check_can_write(path("no/new")).message(),
            path("no/new") + ": there is no folder " + path("no"));
  EXPECT_EQ(check_can_write(path(".")).message(), path(".") + ": expected a file, found a folder");
  EXPECT_TRUE(check_can_make_folder(path("new/newer")).ok());
  EXPECT_TRUE(check_can_make_folder(path(".")).ok());
  EXPECT_TRUE(check_can_make_folder("relative").ok());
  EXPECT_EQ(check_can_make_folder(path("a")).message(),
            path("a") + ": expected a folder, found a file");
  EXPECT_EQ(check_can_make_folder(path("a/b/c")).message(),
            path("a/b/c") + ": expected a folder at " + path("a") + ", found a file");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

}  // namespace
}  // namespace pare
