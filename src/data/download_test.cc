#include "data/download.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>
#include <vector>

#include "base/file.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/md5.h"
#include "data/untar.h"
#include "testing/files.h"

namespace pare {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing_files::fixture_path;
using testing_files::TemporaryFolder;

constexpr const char* kToyMd5 = "36ecbb2653f9fb3fb9bab2f3fccc5552";

std::string toy_archive() { return *read_text_file(fixture_path("data/toy.tar.gz")); }

// A web server for one file, on this machine, that can break off and can ignore ranges.
class LocalServer {
 public:
  struct Behaviour {
    size_t break_off_after = SIZE_MAX;  // bytes of body a request gets
    bool ignore_ranges = false;
    int status = 0;  // not 0: only this
  };

  LocalServer(std::string body, Behaviour behaviour)
      : body_(std::move(body)), behaviour_(behaviour), socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(listen(socket_, 4), 0);
    getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] { serve(); });
  }
  ~LocalServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/toy.tar.gz"; }
  int requests() const { return requests_; }
  std::vector<size_t> range_starts() const { return range_starts_; }

 private:
  void serve() {
    while (true) {
      const int client = accept(socket_, nullptr, nullptr);
      if (client < 0) return;
      answer(client);
      close(client);
    }
  }
  void answer(int client) {
    std::string request;
    char buffer[2048];
    while (request.find("\r\n\r\n") == std::string::npos) {
      const ssize_t n = recv(client, buffer, sizeof(buffer), 0);
      if (n <= 0) return;
      request.append(buffer, static_cast<size_t>(n));
    }
    ++requests_;
    size_t start = 0;
    const size_t range = request.find("Range: bytes=");
    if (range != std::string::npos && !behaviour_.ignore_ranges) {
      start = std::stoul(request.substr(range + 13));
    }
    range_starts_.push_back(start);
    std::string head;
    if (behaviour_.status != 0) {
      head = "HTTP/1.1 " + std::to_string(behaviour_.status) + " No\r\nContent-Length: 0\r\n\r\n";
      send(client, head.data(), head.size(), MSG_NOSIGNAL);
      return;
    }
    if (start >= body_.size()) {
      head = "HTTP/1.1 416 No\r\nContent-Length: 0\r\n\r\n";
      send(client, head.data(), head.size(), MSG_NOSIGNAL);
      return;
    }
    head = start > 0 ? "HTTP/1.1 206 Part\r\n" : "HTTP/1.1 200 OK\r\n";
    if (start > 0) {
      head += "Content-Range: bytes " + std::to_string(start) + "-" +
              std::to_string(body_.size() - 1) + "/" + std::to_string(body_.size()) + "\r\n";
    }
    head += "Content-Length: " + std::to_string(body_.size() - start) + "\r\n\r\n";
    send(client, head.data(), head.size(), MSG_NOSIGNAL);
    const size_t count = std::min(body_.size() - start, behaviour_.break_off_after);
    send(client, body_.data() + start, count, MSG_NOSIGNAL);
  }

  std::string body_;
  Behaviour behaviour_;
  int socket_;
  int port_ = 0;
  std::atomic<int> requests_{0};
  std::vector<size_t> range_starts_;
  std::thread thread_;
};

ArchiveSource toy_source(const LocalServer& server) {
  return {server.url(), "toy.tar.gz", kToyMd5, "toy-set", 1 << 20};
}

void expect_toy_set(const std::string& folder) {
  EXPECT_EQ(*read_text_file(folder + "/words.txt"), "hello\n");
  const auto numbers = read_file(folder + "/numbers.bin", 1 << 20);
  ASSERT_TRUE(numbers.ok());
  ASSERT_EQ(numbers->size(), 70'000U);
  for (size_t i = 0; i < numbers->size(); ++i) {
    ASSERT_EQ(static_cast<size_t>((*numbers)[i]), i * i % 251);
  }
  EXPECT_EQ(*read_text_file(folder + "/" + std::string(80, 'd') + "/" + std::string(60, 'f')),
            "long name");
  EXPECT_FALSE(fs::exists(fs::symlink_status(folder + "/link")));
}

TEST(Download, FetchesOnceAndUnpacks) {
  TemporaryFolder cache;
  const LocalServer server(toy_archive(), {});
  int64_t last = 0;
  const auto folder =
      fetch_archive(toy_source(server), cache.path("deep/er"), [&](int64_t done, int64_t total) {
        last = done;
        EXPECT_EQ(total, static_cast<int64_t>(toy_archive().size()));
      });
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  EXPECT_EQ(last, static_cast<int64_t>(toy_archive().size()));
  expect_toy_set(*folder);
  EXPECT_TRUE(fetch_archive(toy_source(server), cache.path("deep/er")).ok());
  EXPECT_EQ(server.requests(), 1);
  // Only the folder is left: no archive, no partial file.
  EXPECT_EQ(std::distance(fs::directory_iterator(cache.path("deep/er")), {}), 1);
}

TEST(Download, GoesOnWhereItWasBrokenOff) {
  TemporaryFolder cache;
  const std::string archive = toy_archive();
  const size_t piece = archive.size() / 2 - 100;  // three pieces: three attempts
  const LocalServer server(archive, {.break_off_after = piece});
  const auto folder = fetch_archive(toy_source(server), cache.path());
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  expect_toy_set(*folder);
  EXPECT_THAT(server.range_starts(), testing::ElementsAre(0, piece, 2 * piece));
}

TEST(Download, GoesOnTheNextTime) {
  TemporaryFolder cache;
  const std::string archive = toy_archive();
  const size_t piece = archive.size() / 5;
  {
    const LocalServer server(archive, {.break_off_after = piece});
    const auto folder = fetch_archive(toy_source(server), cache.path());
    ASSERT_FALSE(folder.ok());
    EXPECT_THAT(folder.status().message(), HasSubstr(server.url()));
  }
  EXPECT_EQ(*file_size(cache.path("toy.tar.gz.part")), static_cast<int64_t>(3 * piece));
  const LocalServer server(archive, {});
  EXPECT_TRUE(fetch_archive(toy_source(server), cache.path()).ok());
  EXPECT_THAT(server.range_starts(), testing::ElementsAre(3 * piece));
}

TEST(Download, BeginsAgainWhereRangesAreNotUnderstood) {
  TemporaryFolder cache;
  ASSERT_TRUE(write_file(cache.path("toy.tar.gz.part"), "something old").ok());
  const LocalServer server(toy_archive(), {.ignore_ranges = true});
  EXPECT_TRUE(fetch_archive(toy_source(server), cache.path()).ok());
}

TEST(Download, ACompletePartIsRecognised) {
  TemporaryFolder cache;
  ASSERT_TRUE(write_file(cache.path("toy.tar.gz.part"), toy_archive()).ok());
  const LocalServer server(toy_archive(), {});
  const auto folder = fetch_archive(toy_source(server), cache.path());
  ASSERT_TRUE(folder.ok()) << folder.status().message();
  expect_toy_set(*folder);
}

TEST(Download, AWrongChecksumIsNamedAndNothingIsKept) {
  TemporaryFolder cache;
  std::string archive = toy_archive();
  archive[100] = static_cast<char>(archive[100] ^ 1);
  const LocalServer server(archive, {});
  const auto folder = fetch_archive(toy_source(server), cache.path());
  EXPECT_EQ(folder.status().code(), StatusCode::kCorrupt);
  EXPECT_THAT(folder.status().message(), HasSubstr(std::string("expected ") + kToyMd5));
  EXPECT_TRUE(fs::is_empty(cache.path()));
}

TEST(Download, RefusalsAndEndlessFilesAreErrors) {
  TemporaryFolder cache;
  const LocalServer missing(toy_archive(), {.status = 404});
  EXPECT_THAT(fetch_archive(toy_source(missing), cache.path()).status().message(),
              HasSubstr("404"));
  const LocalServer large(toy_archive(), {});
  ArchiveSource source = toy_source(large);
  source.max_bytes = 1000;
  EXPECT_THAT(fetch_archive(source, cache.path("b")).status().message(),
              HasSubstr("more than the 1000 bytes"));
  source.url = "http://127.0.0.1:1/nobody";
  EXPECT_THAT(fetch_archive(source, cache.path("c")).status().message(), HasSubstr("127.0.0.1"));
  source.url = "file:///etc/passwd";
  EXPECT_FALSE(fetch_archive(source, cache.path("d")).ok());
}

// Without a network (a proxy that nobody answers at) the built-in images take CIFAR-10's place.
TEST(Download, WithoutANetworkTheBuiltInImagesAreUsed) {
  TemporaryFolder cache;
  setenv("XDG_CACHE_HOME", cache.path().c_str(), 1);
  setenv("https_proxy", "http://127.0.0.1:1", 1);
  const auto pair = open_dataset({.path = "cifar10"});
  const auto other = open_dataset({.path = "cifar100"});
  unsetenv("https_proxy");
  ASSERT_TRUE(pair.ok()) << pair.status().message();
  EXPECT_EQ(pair->train->size(), 5000);
  ASSERT_EQ(pair->warnings.size(), 1U);
  EXPECT_THAT(pair->warnings[0], HasSubstr("only 5,000 of the 50,000 training images"));
  EXPECT_THAT(other.status().message(), HasSubstr("CIFAR-100 could not be downloaded"));
}

// RFC 1321, appendix A.5.
TEST(Md5, GivesTheKnownDigests) {
  const auto md5 = [](const std::string& text) {
    Md5 digest;
    // In two parts, to cross the block's border.
    const auto bytes = std::as_bytes(std::span(text));
    digest.update(bytes.first(bytes.size() / 3));
    digest.update(bytes.subspan(bytes.size() / 3));
    return digest.finish();
  };
  EXPECT_EQ(md5(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5("abc"), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(md5("abcdefghijklmnopqrstuvwxyz"), "c3fcd3d76192e4007dfb496cca67e13b");
  EXPECT_EQ(md5("12345678901234567890123456789012345678901234567890123456789012345678901234567890"),
            "57edf4a22be3c955ac49da2e2107b67a");
  EXPECT_EQ(*md5_of_file(fixture_path("data/toy.tar.gz")), kToyMd5);
}

// Tar streams from memory.

std::string tar_entry(const std::string& name, const std::string& body, char type = '0') {
  std::string header(512, '\0');
  header.replace(0, name.size(), name);
  header.replace(100, 8, "0000644", 8);
  header.replace(124, 12, fmt::format("{:011o}", body.size()) + std::string(1, '\0'));
  header[156] = type;
  header.replace(257, 6, "ustar", 6);
  header.replace(148, 8, "        ");
  int sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  header.replace(148, 7, fmt::format("{:06o}", sum) + std::string(1, '\0'));
  std::string padded = body;
  padded.resize((body.size() + 511) / 512 * 512);
  return header + padded;
}

Status unpack(const std::string& tar, const std::string& folder, int64_t max_bytes = 1 << 20) {
  size_t at = 0;
  return unpack_tar(
      [&](std::span<std::byte> room) -> Result<size_t> {
        const size_t n = std::min(room.size(), tar.size() - at);
        std::memcpy(room.data(), tar.data() + at, n);
        at += n;
        return n;
      },
      "toy.tar", folder, max_bytes);
}

const std::string kEnd(1024, '\0');

TEST(Untar, NeverLeavesItsFolder) {
  TemporaryFolder folder;
  fs::create_directory(folder.path("in"));
  for (const char* name : {"../out", "/tmp/pare_out", "a/../../out", ".."}) {
    const Status status = unpack(tar_entry(name, "x") + kEnd, folder.path("in"));
    EXPECT_THAT(status.message(), HasSubstr("leads out of the folder")) << name;
  }
  // A link is passed over, so a file behind it lands in a folder of its own.
  EXPECT_TRUE(
      unpack(tar_entry("l", "", '2') + tar_entry("l/x", "y") + kEnd, folder.path("in")).ok());
  EXPECT_EQ(*read_text_file(folder.path("in/l/x")), "y");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Untar, RefusesTruncatedCorruptAndHuge) {
  TemporaryFolder folder;
  const std::string whole = tar_entry("a", std::string(2000, 'x')) + tar_entry("b", "y") + kEnd;
  EXPECT_TRUE(unpack(whole, folder.path("whole")).ok());
  for (size_t n = 0; n < whole.size() - 1023; n += 77) {
    EXPECT_THAT(unpack(whole.substr(0, n), folder.path("cut")).message(), HasSubstr("truncated"));
  }
  EXPECT_FALSE(file_exists(folder.path("cut/b")));
  std::string changed = whole;
  changed[3] = 'z';
  EXPECT_THAT(unpack(changed, folder.path("bad")).message(), HasSubstr("checksum is wrong"));
  EXPECT_THAT(unpack(whole, folder.path("huge"), 1999).message(), HasSubstr("more than the 1999"));
  std::string endless;
  for (int i = 0; i < 100; ++i) endless += tar_entry("e", "");
  EXPECT_THAT(unpack(endless + kEnd, folder.path("endless"), 20'000).message(),
              HasSubstr("more than"));
}

TEST(Untar, MutatedHeadersNeverHarm) {
  TemporaryFolder folder;
  const std::string whole = tar_entry("a", std::string(700, 'x')) + tar_entry("b", "y") + kEnd;
  Rng rng(5, RngPurpose::kTest);
  for (int trial = 0; trial < 60; ++trial) {
    std::string changed = whole;
    for (int k = 0; k < 3; ++k) {
      changed[rng.below(changed.size())] = static_cast<char>(rng.next_u32());
    }
    const Status status = unpack(changed, folder.path("in"));
    if (!status.ok()) {
      EXPECT_THAT(status.message(), HasSubstr("toy.tar"));
    }
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), {}), 1);
}

TEST(Untar, BrokenGzipIsNamed) {
  TemporaryFolder folder;
  std::string archive = toy_archive();
  archive.resize(archive.size() / 2);
  ASSERT_TRUE(write_file(folder.path("cut.tar.gz"), archive).ok());
  const Status status = unpack_tar_gz(folder.path("cut.tar.gz"), folder.path("out"), 1 << 20);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("cut.tar.gz"));
}

}  // namespace
}  // namespace pare
