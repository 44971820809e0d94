// GuardedBuffer: memory for one operand of a kernel under test that notices every access outside.
//
// The buffer ends where an unmapped page begins (or, with Edge::kStart, begins where one ends), so
// reading or writing one byte too many ends the test at once. On the other side, up to the page's
// border, stands a pattern that intact() checks. With Edge::kEnd the first byte is aligned only as
// the size makes it: a size that is a multiple of 64 gives an address that is one too.
#ifndef PARE_TESTING_GUARDED_BUFFER_H_
#define PARE_TESTING_GUARDED_BUFFER_H_

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

namespace pare::testing_memory {

class GuardedBuffer {
 public:
  enum class Edge { kStart, kEnd };

  explicit GuardedBuffer(int64_t bytes, Edge edge = Edge::kEnd) : bytes_(bytes) {
    const auto page = static_cast<int64_t>(::sysconf(_SC_PAGESIZE));
    usable_ = (bytes + page - 1) / page * page;
    mapped_ = usable_ + 2 * page;
    void* memory = ::mmap(nullptr, static_cast<size_t>(mapped_), PROT_NONE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    map_ = static_cast<std::byte*>(memory);
    usable_start_ = map_ + page;
    if (usable_ > 0 &&
        ::mprotect(usable_start_, static_cast<size_t>(usable_), PROT_READ | PROT_WRITE) != 0) {
      std::abort();
    }
#ifdef MADV_HUGEPAGE
    // As large tensors lie (base/tensor.cc): benchmarks time what users have.
    if (usable_ >= 4 << 20) {
      ::madvise(usable_start_, static_cast<size_t>(usable_), MADV_HUGEPAGE);
    }
#endif
    data_ = edge == Edge::kStart ? usable_start_ : usable_start_ + usable_ - bytes;
    if (usable_ > 0) {
      std::memset(usable_start_, static_cast<int>(kPattern), static_cast<size_t>(usable_));
    }
  }
  template <typename T>
  static GuardedBuffer of(const std::vector<T>& values, Edge edge = Edge::kEnd) {
    GuardedBuffer buffer(static_cast<int64_t>(values.size() * sizeof(T)), edge);
    for (size_t i = 0; i < values.size(); ++i) buffer.as<T>()[i] = values[i];
    return buffer;
  }
  ~GuardedBuffer() {
    if (map_ != nullptr) ::munmap(map_, static_cast<size_t>(mapped_));
  }
  GuardedBuffer(GuardedBuffer&& other) noexcept
      : map_(other.map_),
        usable_start_(other.usable_start_),
        data_(other.data_),
        bytes_(other.bytes_),
        usable_(other.usable_),
        mapped_(other.mapped_) {
    other.map_ = nullptr;
  }
  GuardedBuffer& operator=(GuardedBuffer&& other) noexcept {
    std::swap(map_, other.map_);
    std::swap(usable_start_, other.usable_start_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(usable_, other.usable_);
    std::swap(mapped_, other.mapped_);
    return *this;
  }
  GuardedBuffer(const GuardedBuffer&) = delete;

  std::byte* data() { return data_; }
  int64_t size_bytes() const { return bytes_; }
  std::span<std::byte> bytes() { return {data_, static_cast<size_t>(bytes_)}; }
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data_);
  }
  template <typename T>
  std::span<const T> values() const {
    return {reinterpret_cast<const T*>(data_), static_cast<size_t>(bytes_) / sizeof(T)};
  }
  // The pattern beside the buffer is as it was.
  bool intact() const {
    for (const std::byte* p = usable_start_; p < data_; ++p) {
      if (*p != kPattern) return false;
    }
    for (const std::byte* p = data_ + bytes_; p < usable_start_ + usable_; ++p) {
      if (*p != kPattern) return false;
    }
    return true;
  }

 private:
  // 0xfbfb… is a float of about -2.6e36 and a NaN in neither 16-bit type: a sum that takes it in
  // cannot pass unseen.
  static constexpr std::byte kPattern{0xfb};

  std::byte* map_ = nullptr;
  std::byte* usable_start_ = nullptr;
  std::byte* data_ = nullptr;
  int64_t bytes_ = 0;
  int64_t usable_ = 0;
  int64_t mapped_ = 0;
};

}  // namespace pare::testing_memory

#endif  // PARE_TESTING_GUARDED_BUFFER_H_
