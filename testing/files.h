// Folders and files for tests: one that vanishes with the test, and those kept under
// tests/fixtures.
#ifndef PARE_TESTING_FILES_H_
#define PARE_TESTING_FILES_H_

#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <string>

namespace pare::testing_files {

// An empty folder of this test's own, removed with everything in it at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> count{0};
    folder_ = std::filesystem::temp_directory_path() /
              ("pare_test_" + std::to_string(::getpid()) + "_" + std::to_string(count++));
    std::filesystem::create_directories(folder_);
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string path() const { return folder_.string(); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

 private:
  std::filesystem::path folder_;
};

// Where the source tree lies. Defined in a file of its own, so that objects do not depend on it.
extern const char* const kSourceFolder;

// A file of the source tree.
inline std::string source_path(const std::string& name) {
  return std::string(kSourceFolder) + "/" + name;
}
// tests/fixtures/<name> in the source tree.
inline std::string fixture_path(const std::string& name) {
  return source_path("tests/fixtures/" + name);
}

}  // namespace pare::testing_files

#endif  // PARE_TESTING_FILES_H_
