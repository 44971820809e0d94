// Fetching a publisher's archive once into the cache.
//
// A download goes to <name>.part and is renamed when complete and its MD5 is right; broken off, it
// goes on where it stopped the next time. One program at a time (a lock on the .part file).
// libcurl is opened at run time, so that the program runs where it is missing: then downloading
// says so, and everything else works.
#ifndef PARE_DATA_DOWNLOAD_H_
#define PARE_DATA_DOWNLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include "pare/status.h"

namespace pare {

struct ArchiveSource {
  std::string url;
  std::string file;       // "cifar-10-binary.tar.gz"
  std::string md5;        // 32 hexadecimal digits
  std::string folder;     // what it unpacks to: "cifar-10-batches-bin"
  int64_t max_bytes = 0;  // of the archive, and of what it holds
};
ArchiveSource cifar10_source();
ArchiveSource cifar100_source();

// Bytes so far and in all (0: not known).
using DownloadProgress = std::function<void(int64_t done_bytes, int64_t total_bytes)>;

// Downloads `source` to <cache>/<file> unless it is there, and unpacks it to <cache>/<folder>.
// Gives that folder.
Result<std::string> fetch_archive(const ArchiveSource& source, const std::string& cache,
                                  const DownloadProgress& progress = {});

// Downloads to `path`. Errors name the URL and, for a wrong checksum, expected and found.
Status download_file(const ArchiveSource& source, const std::string& path,
                     const DownloadProgress& progress);

}  // namespace pare

#endif  // PARE_DATA_DOWNLOAD_H_
