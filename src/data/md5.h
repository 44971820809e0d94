// MD5 (RFC 1321): what the publishers of data sets give to recognise their archives by. No
// protection against forgery.
#ifndef PARE_DATA_MD5_H_
#define PARE_DATA_MD5_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "pare/status.h"

namespace pare {

class Md5 {
 public:
  void update(std::span<const std::byte> bytes);
  // 32 hexadecimal digits; nothing may be added afterwards.
  std::string finish();

 private:
  void block(const uint8_t* p);

  std::array<uint32_t, 4> state_ = {0x67452301U, 0xefcdab89U, 0x98badcfeU, 0x10325476U};
  std::array<uint8_t, 64> buffer_{};
  uint64_t size_ = 0;  // bytes so far
};

Result<std::string> md5_of_file(const std::string& path);

}  // namespace pare

#endif  // PARE_DATA_MD5_H_
