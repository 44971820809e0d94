// TensorBoard event files: scalars over steps.
//
// A file is a row of TFRecords (tensorflow/core/lib/io/record_writer.h): length as u64, masked
// CRC-32C of those 8 bytes, the bytes, their masked CRC-32C; all little-endian, mask(c) =
// rotate_right(c, 15) + 0xa282ead8. Each holds an Event message (tensorflow/core/util/event.proto:
// wall_time 1, step 2, file_version 3, summary 5; Summary value 1: tag 1, simple_value 2).
#ifndef PARE_TRAIN_EVENT_FILE_H_
#define PARE_TRAIN_EVENT_FILE_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "pare/status.h"

namespace pare {

class EventFile {
 public:
  // Starts a new file in `folder`; a resumed run adds another, which TensorBoard joins.
  static Result<EventFile> create(const std::string& folder);

  // Appends and flushes.
  Status add(int64_t step, std::span<const std::pair<std::string, double>> scalars);

  const std::string& path() const { return path_; }

 private:
  Status append(const std::string& event) const;
  std::string path_;
};

uint32_t crc32c(std::span<const std::byte> bytes);

}  // namespace pare

#endif  // PARE_TRAIN_EVENT_FILE_H_
