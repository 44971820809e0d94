#include "base/tensor.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace pare {
namespace {

constexpr size_t kAlignment = 64;
// 2^40 elements is far beyond any model this program can hold, and small enough that products with
// the widest type cannot overflow 64 bits.
constexpr int64_t kMaxElements = int64_t{1} << 40;

// Weights that come from memory are read a quarter to two fifths faster from pages of 2 MB (16 GB/s
// became 20 to 23 on two Zen 3 cores under KVM): the addresses of 4 KB pages take too long to find.
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kLeastHuge = 2 * kHugePage;

std::shared_ptr<std::byte> allocate(size_t bytes) {
  const size_t alignment = bytes < kLeastHuge ? kAlignment : kHugePage;
  const size_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment + kAlignment;
  const size_t rounded = (padded + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
#ifdef MADV_HUGEPAGE
  // A wish: where it is not granted nothing else changes. The last, partial page stays small, so
  // that no more memory is touched than was asked for.
  if (alignment == kHugePage) ::madvise(p, padded / kHugePage * kHugePage, MADV_HUGEPAGE);
#endif
  return {static_cast<std::byte*>(p), [](std::byte* q) { std::free(q); }};
}

}  // namespace

int64_t element_count(const Shape& shape) {
  int64_t n = 1;
  for (int64_t d : shape) n *= d;
  return n;
}

Result<int64_t> checked_element_count(const Shape& shape) {
  int64_t n = 1;  // of the dimensions that are not 0
  for (int64_t d : shape) {
    if (d < 0) {
      return corrupt(fmt::format("shape {} has a negative dimension", shape_string(shape)));
    }
    if (d > kMaxElements / n) {
      return corrupt(fmt::format("shape {} has more than 2^40 elements", shape_string(shape)));
    }
    n *= std::max<int64_t>(d, 1);
  }
  return element_count(shape) == 0 ? 0 : n;
}

std::string shape_string(const Shape& shape) {
  if (shape.empty()) return "scalar";
  std::string s;
  for (int64_t d : shape) {
    if (!s.empty()) s += 'x';
    s += d == kDynamic ? "N" : std::to_string(d);
  }
  return s;
}

Tensor::Tensor(DType type, Shape shape)
    : type_(type), shape_(std::move(shape)), size_(element_count(shape_)), writable_(true) {
  auto memory = allocate(static_cast<size_t>(byte_count()));
  std::memset(memory.get(), 0, static_cast<size_t>(byte_count()));
  data_ = std::move(memory);
}

Result<Tensor> Tensor::create(DType type, Shape shape) {
  PARE_ASSIGN_OR_RETURN(const int64_t n, checked_element_count(shape));
  try {
    return Tensor(type, std::move(shape));
  } catch (const std::bad_alloc&) {
    return out_of_memory(
        fmt::format("no memory for a tensor of {} elements of {}", n, dtype_name(type)));
  }
}

Tensor Tensor::from_external(DType type, Shape shape, std::shared_ptr<const std::byte> data) {
  Tensor t;
  t.type_ = type;
  t.shape_ = std::move(shape);
  t.size_ = element_count(t.shape_);
  t.data_ = std::move(data);
  return t;
}

std::byte* Tensor::mutable_data() {
  if (data_ != nullptr && (!writable_ || data_.use_count() != 1)) {
    auto memory = allocate(static_cast<size_t>(byte_count()));
    std::memcpy(memory.get(), data_.get(), static_cast<size_t>(byte_count()));
    data_ = std::move(memory);
    writable_ = true;
  }
  return const_cast<std::byte*>(data_.get());
}

Tensor Tensor::reshaped(Shape shape) const {
  assert(element_count(shape) == size_);
  Tensor t = *this;
  t.shape_ = std::move(shape);
  return t;
}

int32_t int4_at(const Tensor& tensor, int64_t i) {
  const auto byte = static_cast<uint8_t>(tensor.data()[i / 2]);
  const int32_t nibble = (i % 2 == 0 ? byte : byte >> 4) & 0xf;
  return tensor.type() == DType::kInt4 && nibble >= 8 ? nibble - 16 : nibble;
}

void set_int4(std::byte* data, int64_t i, int32_t value) {
  const auto nibble = static_cast<uint8_t>(value & 0xf);
  auto byte = static_cast<uint8_t>(data[i / 2]);
  byte = i % 2 == 0 ? static_cast<uint8_t>((byte & 0xf0) | nibble)
                    : static_cast<uint8_t>((byte & 0x0f) | (nibble << 4));
  data[i / 2] = std::byte{byte};
}

namespace {

template <typename T, typename Out>
void copy_as(const Tensor& tensor, std::vector<Out>& out) {
  const auto src = tensor.values<T>();
  for (size_t i = 0; i < src.size(); ++i) out[i] = static_cast<Out>(src[i]);
}

template <typename Out>
bool copy_integers(const Tensor& tensor, std::vector<Out>& out) {
  switch (tensor.type()) {
    case DType::kInt8:
      copy_as<int8_t>(tensor, out);
      return true;
    case DType::kUInt8:
      copy_as<uint8_t>(tensor, out);
      return true;
    case DType::kInt16:
      copy_as<int16_t>(tensor, out);
      return true;
    case DType::kUInt16:
      copy_as<uint16_t>(tensor, out);
      return true;
    case DType::kInt32:
      copy_as<int32_t>(tensor, out);
      return true;
    case DType::kInt64:
      copy_as<int64_t>(tensor, out);
      return true;
    case DType::kBool:
      copy_as<bool>(tensor, out);
      return true;
    case DType::kInt4:
    case DType::kUInt4:
      for (int64_t i = 0; i < tensor.size(); ++i) {
        out[static_cast<size_t>(i)] = static_cast<Out>(int4_at(tensor, i));
      }
      return true;
    default:
      return false;
  }
}

}  // namespace

std::vector<float> to_float_vector(const Tensor& tensor) {
  std::vector<float> out(static_cast<size_t>(tensor.size()));
  if (copy_integers(tensor, out)) return out;
  switch (tensor.type()) {
    case DType::kFloat16:
      copy_as<Float16>(tensor, out);
      break;
    case DType::kBFloat16:
      copy_as<BFloat16>(tensor, out);
      break;
    case DType::kFloat64:
      copy_as<double>(tensor, out);
      break;
    default:
      copy_as<float>(tensor, out);
      break;
  }
  return out;
}

namespace {

// Elements of which no bit but the sign's is set. In blocks of one length, which the compiler turns
// into vectors: 21 MB of bytes take 2 ms.
template <typename Bits>
int64_t count_zero_bits(const std::byte* data, int64_t count, Bits sign) {
  constexpr int64_t kBlock = 256;
  const auto* bits = reinterpret_cast<const Bits*>(data);
  const auto mask = static_cast<Bits>(~sign);
  int64_t zeros = 0;
  int64_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    int32_t its = 0;
    for (int64_t j = 0; j < kBlock; ++j) its += (bits[i + j] & mask) == 0 ? 1 : 0;
    zeros += its;
  }
  for (; i < count; ++i) zeros += (bits[i] & mask) == 0 ? 1 : 0;
  return zeros;
}

}  // namespace

int64_t count_zeros(const Tensor& tensor) {
  switch (tensor.type()) {
    case DType::kInt8:
    case DType::kUInt8:
      return count_zero_bits<uint8_t>(tensor.data(), tensor.size(), 0);
    case DType::kFloat16:
    case DType::kBFloat16:
      return count_zero_bits<uint16_t>(tensor.data(), tensor.size(), 0x8000);
    case DType::kFloat32:
      return count_zero_bits<uint32_t>(tensor.data(), tensor.size(), 0x80000000U);
    default: {
      const std::vector<float> values = to_float_vector(tensor);
      return std::count(values.begin(), values.end(), 0.0F);
    }
  }
}

Result<std::vector<int64_t>> to_int64_vector(const Tensor& tensor) {
  std::vector<int64_t> out(static_cast<size_t>(tensor.size()));
  if (copy_integers(tensor, out)) return out;
  return invalid_argument(
      fmt::format("expected an integer tensor, found {}", dtype_name(tensor.type())));
}

namespace {

template <typename T>
Tensor round_to(const std::vector<float>& values, const Shape& shape) {
  Tensor out(DTypeOf<T>::value, shape);
  auto dst = out.mutable_values<T>();
  for (size_t i = 0; i < values.size(); ++i) dst[i] = T(values[i]);
  return out;
}

}  // namespace

Result<Tensor> convert_floating(const Tensor& tensor, DType type) {
  if (!is_floating(tensor.type()) || !is_floating(type)) {
    return invalid_argument(fmt::format("cannot convert {} to {} as floating types",
                                        dtype_name(tensor.type()), dtype_name(type)));
  }
  if (tensor.type() == type) return tensor;
  const std::vector<float> values = to_float_vector(tensor);
  switch (type) {
    case DType::kFloat16:
      return round_to<Float16>(values, tensor.shape());
    case DType::kBFloat16:
      return round_to<BFloat16>(values, tensor.shape());
    case DType::kFloat64:
      return round_to<double>(values, tensor.shape());
    default:
      return round_to<float>(values, tensor.shape());
  }
}

}  // namespace pare
