// Unpacks a .tar.gz as the publishers of data sets make them: regular files and folders (POSIX
// ustar). Links, devices and extended headers are passed over. No name may lead out of the
// destination.
#ifndef PARE_DATA_UNTAR_H_
#define PARE_DATA_UNTAR_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "pare/status.h"

namespace pare {

// Gives up to `room` bytes of the tar stream into the span; returns how many, fewer only at the
// end.
using TarSource = std::function<Result<size_t>(std::span<std::byte> room)>;

// Writes what the stream holds under `folder`, at most `max_bytes` in all; `name` is what messages
// call the archive.
Status unpack_tar(const TarSource& source, const std::string& name, const std::string& folder,
                  int64_t max_bytes);
// The same from a gzip-compressed file.
Status unpack_tar_gz(const std::string& path, const std::string& folder, int64_t max_bytes);

}  // namespace pare

#endif  // PARE_DATA_UNTAR_H_
