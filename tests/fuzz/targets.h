// What a fuzz target is: it reads the bytes as a file of its format, checks what must hold of
// whatever was read (abort() is the answer if it does not), and says whether they were read.
#ifndef PARE_TESTS_FUZZ_TARGETS_H_
#define PARE_TESTS_FUZZ_TARGETS_H_

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#define PARE_FUZZ(name) bool fuzz_##name(std::span<const std::byte> bytes);
#include "targets.inc"
#undef PARE_FUZZ

inline void require(bool condition) {
  if (!condition) std::abort();
}

// A copy as aligned as a mapped file, so that tensors rest on it where they can.
inline std::shared_ptr<std::byte> aligned_copy(std::span<const std::byte> bytes) {
  std::shared_ptr<std::byte> copy(
      static_cast<std::byte*>(std::aligned_alloc(64, (bytes.size() + 64) / 64 * 64)), std::free);
  if (!bytes.empty()) std::memcpy(copy.get(), bytes.data(), bytes.size());
  return copy;
}

// Reads every byte, so that a sanitizer sees what lies outside.
inline void touch(std::span<const std::byte> bytes) {
  std::byte all{};
  for (const std::byte b : bytes) all |= b;
  volatile std::byte sink = all;
  (void)sink;
}

#endif  // PARE_TESTS_FUZZ_TARGETS_H_
