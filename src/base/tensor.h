// Tensor: a contiguous row-major block of elements with a type and a shape.
//
// Copies share their memory and are cheap, so that a Graph can be copied by every pass;
// mutable_data() first makes the memory this tensor's own (copy on write). Memory starts on a
// 64-byte boundary, one cache line and one AVX-512 register. A tensor may also rest on memory that
// something else keeps alive, such as a mapped file.
#ifndef PARE_BASE_TENSOR_H_
#define PARE_BASE_TENSOR_H_

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/dtype.h"

namespace pare {

// Sizes of the dimensions, outermost first. In a Graph, kDynamic stands for the number of images;
// a Tensor has no such dimension.
using Shape = std::vector<int64_t>;
inline constexpr int64_t kDynamic = -1;

// Product of the dimensions; 1 for a scalar. The shape must have passed checked_element_count() if
// it came from outside.
int64_t element_count(const Shape& shape);
// The product, or the reason that there is none: a negative dimension, or more than 2^40 elements.
// A dimension of 0 does not excuse what the others come to, so that no product of some of them
// overflows later.
Result<int64_t> checked_element_count(const Shape& shape);
// "64x3x11x11", "scalar" for no dimensions, "N" for kDynamic.
std::string shape_string(const Shape& shape);

class Tensor {
 public:
  Tensor() = default;  // no memory; empty() is true

  // Zero-filled. The shape must be valid; use create() for one that came from a file.
  Tensor(DType type, Shape shape);
  static Result<Tensor> create(DType type, Shape shape);
  // Rests on memory owned by `owner`, which must be 8-byte aligned at least and byte_count long.
  static Tensor from_external(DType type, Shape shape, std::shared_ptr<const std::byte> data);

  template <typename T>
  static Tensor from_values(Shape shape, std::span<const T> values) {
    Tensor t(DTypeOf<T>::value, std::move(shape));
    assert(static_cast<int64_t>(values.size()) == t.size());
    auto dst = t.mutable_values<T>();
    for (size_t i = 0; i < values.size(); ++i) dst[i] = values[i];
    return t;
  }
  template <typename T>
  static Tensor from_values(Shape shape, const std::vector<T>& values) {
    return from_values<T>(std::move(shape), std::span<const T>(values));
  }
  template <typename T>
  static Tensor scalar(T value) {
    return from_values<T>({}, std::span<const T>(&value, 1));
  }

  DType type() const { return type_; }
  const Shape& shape() const { return shape_; }
  int rank() const { return static_cast<int>(shape_.size()); }
  int64_t dim(int axis) const {
    return shape_[static_cast<size_t>(axis < 0 ? axis + rank() : axis)];
  }
  int64_t size() const { return size_; }  // elements
  int64_t byte_count() const { return (size_ * dtype_bits(type_) + 7) / 8; }
  bool empty() const { return data_ == nullptr; }

  const std::byte* data() const { return data_.get(); }
  std::byte* mutable_data();

  // Typed access; T must be the element type (asserted).
  template <typename T>
  std::span<const T> values() const {
    assert(DTypeOf<T>::value == type_);
    return {reinterpret_cast<const T*>(data_.get()), static_cast<size_t>(size_)};
  }
  template <typename T>
  std::span<T> mutable_values() {
    assert(DTypeOf<T>::value == type_);
    return {reinterpret_cast<T*>(mutable_data()), static_cast<size_t>(size_)};
  }

  // The same elements under another shape of equal size.
  Tensor reshaped(Shape shape) const;

 private:
  DType type_ = DType::kFloat32;
  Shape shape_;
  int64_t size_ = 0;
  std::shared_ptr<const std::byte> data_;
  bool writable_ = false;  // the memory was allocated by a Tensor
};

// All elements as float32, whatever the type (4-bit ones unpacked).
std::vector<float> to_float_vector(const Tensor& tensor);
// How many elements are zero, of either sign.
int64_t count_zeros(const Tensor& tensor);
// All elements of an integer or bool tensor as int64; fails for floating types.
Result<std::vector<int64_t>> to_int64_vector(const Tensor& tensor);
// Converts to a floating type (float32, float16, bfloat16, float64), rounding to nearest even.
Result<Tensor> convert_floating(const Tensor& tensor, DType type);
// Element i of a packed 4-bit tensor, sign-extended for kInt4.
int32_t int4_at(const Tensor& tensor, int64_t i);
void set_int4(std::byte* data, int64_t i, int32_t value);

}  // namespace pare

#endif  // PARE_BASE_TENSOR_H_
