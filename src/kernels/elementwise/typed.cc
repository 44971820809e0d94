// Elementwise operations on integers, float64 and bool, and those that only move elements by a
// mask.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "kernels/elementwise/elementwise.h"

namespace pare {
namespace {

// Unsigned arithmetic wraps, which is what ONNX Runtime and NumPy do on overflow and what C++
// leaves undefined for signed types.
template <typename T, typename F>
T wrapping(T x, T y, F&& f) {
  if constexpr (std::is_integral_v<T>) {
    using U = std::make_unsigned_t<T>;
    return static_cast<T>(
        f(static_cast<uint64_t>(static_cast<U>(x)), static_cast<uint64_t>(static_cast<U>(y))));
  } else {
    return static_cast<T>(f(x, y));
  }
}

template <typename T>
T divide(T x, T y) {
  if constexpr (std::is_integral_v<T>) {
    if (y == 0) return 0;
    if constexpr (std::is_signed_v<T>) {
      if (y == -1) return wrapping<T>(0, x, [](auto a, auto b) { return a - b; });
    }
  }
  return static_cast<T>(x / y);
}

// The remainder has the divisor's sign, as ONNX Mod with fmod = 0 has it.
template <typename T>
T modulo(T x, T y) {
  if constexpr (std::is_integral_v<T>) {
    if (y == 0 || y == static_cast<T>(-1)) return 0;
    const T r = static_cast<T>(x % y);
    return r != 0 && ((r < 0) != (y < 0)) ? static_cast<T>(r + y) : r;
  } else {
    return std::fmod(x, y);
  }
}

template <typename T>
T arithmetic(TypedOp op, T x, T y) {
  switch (op) {
    case TypedOp::kAdd:
      return wrapping(x, y, [](auto a, auto b) { return a + b; });
    case TypedOp::kSub:
      return wrapping(x, y, [](auto a, auto b) { return a - b; });
    case TypedOp::kMul:
      return wrapping(x, y, [](auto a, auto b) { return a * b; });
    case TypedOp::kDiv:
      return divide(x, y);
    case TypedOp::kMin:
      return std::min(x, y);
    case TypedOp::kMax:
      return std::max(x, y);
    case TypedOp::kMod:
      return modulo(x, y);
    default:
      return static_cast<T>(std::pow(static_cast<double>(x), static_cast<double>(y)));
  }
}

template <typename T>
bool comparison(TypedOp op, T x, T y) {
  switch (op) {
    case TypedOp::kEqual:
      return x == y;
    case TypedOp::kGreater:
      return x > y;
    case TypedOp::kGreaterOrEqual:
      return x >= y;
    case TypedOp::kLess:
      return x < y;
    case TypedOp::kLessOrEqual:
      return x <= y;
    case TypedOp::kAnd:
      return x != T{0} && y != T{0};
    case TypedOp::kOr:
      return x != T{0} || y != T{0};
    default:
      return (x != T{0}) != (y != T{0});
  }
}

template <typename T, typename Out, typename F>
void binary(const TypedBinaryProblem& p, const void* a, const void* b, void* dst, F&& f) {
  const StridedShape s = collapse(p.shape, {p.a_strides, p.b_strides});
  const T* x = static_cast<const T*>(a);
  const T* y = static_cast<const T*>(b);
  Out* d = static_cast<Out*>(dst);
  for_each_row(s, 0, s.count, [&](const int64_t* offsets, int64_t n) {
    for (int64_t i = 0; i < n; ++i) {
      *d++ = f(x[offsets[0] + i * s.strides[0].back()], y[offsets[1] + i * s.strides[1].back()]);
    }
  });
}

template <typename T>
void run_binary(const TypedBinaryProblem& p, const void* a, const void* b, void* dst) {
  if (p.op >= TypedOp::kEqual) {
    binary<T, uint8_t>(p, a, b, dst, [&](T x, T y) { return comparison(p.op, x, y); });
  } else {
    binary<T, T>(p, a, b, dst, [&](T x, T y) { return arithmetic(p.op, x, y); });
  }
}

// Calls f.template operator()<T>() with the C++ type; false for a type that has none here.
template <typename F>
bool with_type(DType type, F&& f) {
  switch (type) {
    case DType::kFloat32:
      f.template operator()<float>();
      return true;
    case DType::kFloat64:
      f.template operator()<double>();
      return true;
    case DType::kInt8:
      f.template operator()<int8_t>();
      return true;
    case DType::kUInt8:
    case DType::kBool:
      f.template operator()<uint8_t>();
      return true;
    case DType::kInt16:
      f.template operator()<int16_t>();
      return true;
    case DType::kUInt16:
      f.template operator()<uint16_t>();
      return true;
    case DType::kInt32:
      f.template operator()<int32_t>();
      return true;
    case DType::kInt64:
      f.template operator()<int64_t>();
      return true;
    default:
      return false;
  }
}

Status check_type(DType type) {
  if (with_type(type, []<typename T>() {})) return ok_status();
  return unsupported(fmt::format("no elementwise arithmetic on {}", dtype_name(type)));
}

template <typename T>
void unary(TypedUnaryOp op, int64_t count, const void* src, void* dst) {
  const T* s = static_cast<const T*>(src);
  T* d = static_cast<T*>(dst);
  for (int64_t i = 0; i < count; ++i) {
    const T x = s[i];
    const T negative = wrapping<T>(0, x, [](auto a, auto b) { return a - b; });
    switch (op) {
      case TypedUnaryOp::kNot:
        d[i] = x == T{0};
        break;
      case TypedUnaryOp::kNeg:
        d[i] = std::is_floating_point_v<T> ? static_cast<T>(-x) : negative;
        break;
      case TypedUnaryOp::kAbs:
        d[i] = x < T{0} ? negative : x;
        break;
      default:
        d[i] = static_cast<T>((x > T{0}) - (x < T{0}));
        break;
    }
  }
}

}  // namespace

Status check_typed_binary(const TypedBinaryProblem& problem) { return check_type(problem.type); }

void run_typed_binary(const TypedBinaryProblem& p, const void* a, const void* b, void* dst) {
  with_type(p.type, [&]<typename T>() { run_binary<T>(p, a, b, dst); });
}

Status check_typed_unary(TypedUnaryOp op, DType type) {
  if (op == TypedUnaryOp::kIsNaN && type != DType::kFloat32 && type != DType::kFloat64) {
    return unsupported(fmt::format("IsNaN on {}", dtype_name(type)));
  }
  return check_type(type);
}

void run_typed_unary(TypedUnaryOp op, DType type, int64_t count, const void* src, void* dst) {
  with_type(type, [&]<typename T>() {
    if (op != TypedUnaryOp::kIsNaN) {
      unary<T>(op, count, src, dst);
      return;
    }
    const T* s = static_cast<const T*>(src);
    auto* d = static_cast<uint8_t*>(dst);
    for (int64_t i = 0; i < count; ++i) d[i] = s[i] != s[i];
  });
}

void run_where(const WhereProblem& p, const void* condition, const void* a, const void* b,
               void* dst) {
  const StridedShape s = collapse(p.shape, {p.condition_strides, p.a_strides, p.b_strides});
  const auto bytes = static_cast<size_t>(p.element_bytes);
  const auto* c = static_cast<const uint8_t*>(condition);
  const auto* x = static_cast<const char*>(a);
  const auto* y = static_cast<const char*>(b);
  auto* d = static_cast<char*>(dst);
  for_each_row(s, 0, s.count, [&](const int64_t* offsets, int64_t n) {
    for (int64_t i = 0; i < n; ++i, d += bytes) {
      const bool yes = c[offsets[0] + i * s.strides[0].back()] != 0;
      const char* from = yes ? x + (offsets[1] + i * s.strides[1].back()) * p.element_bytes
                             : y + (offsets[2] + i * s.strides[2].back()) * p.element_bytes;
      std::memcpy(d, from, bytes);
    }
  });
}

namespace {

// The value in its widest form: int64 for integers, double for floats (exact for all types here).
template <typename Wide, typename Get, typename To>
void cast_loop(int64_t count, const Get& get, void* dst) {
  To* d = static_cast<To*>(dst);
  for (int64_t i = 0; i < count; ++i) {
    const Wide v = get(i);
    if constexpr (std::is_same_v<To, bool>) {
      d[i] = v != Wide{0};
    } else if constexpr (std::is_same_v<To, Float16> || std::is_same_v<To, BFloat16>) {
      d[i] = To(static_cast<float>(v));
    } else if constexpr (std::is_integral_v<To> && std::is_floating_point_v<Wide>) {
      constexpr double kLow = static_cast<double>(std::numeric_limits<To>::min());
      constexpr double kHigh = static_cast<double>(std::numeric_limits<To>::max());
      // At 2^63 the double lies one above the largest int64: compare before converting.
      if (!(v > kLow)) {
        d[i] = std::isnan(v) ? To{0} : std::numeric_limits<To>::min();
      } else {
        d[i] = v >= kHigh ? std::numeric_limits<To>::max() : static_cast<To>(v);
      }
    } else {
      d[i] = static_cast<To>(v);
    }
  }
}

template <typename Wide, typename Get>
void cast_to(DType to, int64_t count, const Get& get, void* dst) {
  switch (to) {
    case DType::kFloat32:
      return cast_loop<Wide, Get, float>(count, get, dst);
    case DType::kFloat64:
      return cast_loop<Wide, Get, double>(count, get, dst);
    case DType::kFloat16:
      return cast_loop<Wide, Get, Float16>(count, get, dst);
    case DType::kBFloat16:
      return cast_loop<Wide, Get, BFloat16>(count, get, dst);
    case DType::kInt8:
      return cast_loop<Wide, Get, int8_t>(count, get, dst);
    case DType::kUInt8:
      return cast_loop<Wide, Get, uint8_t>(count, get, dst);
    case DType::kInt16:
      return cast_loop<Wide, Get, int16_t>(count, get, dst);
    case DType::kUInt16:
      return cast_loop<Wide, Get, uint16_t>(count, get, dst);
    case DType::kInt32:
      return cast_loop<Wide, Get, int32_t>(count, get, dst);
    case DType::kBool:
      return cast_loop<Wide, Get, bool>(count, get, dst);
    default:
      return cast_loop<Wide, Get, int64_t>(count, get, dst);
  }
}

}  // namespace

void run_cast(DType from, DType to, int64_t count, const void* src, void* dst) {
  if (from == DType::kFloat16) {
    const auto* s = static_cast<const uint16_t*>(src);
    cast_to<double>(
        to, count, [s](int64_t i) { return static_cast<double>(half_bits_to_float(s[i])); }, dst);
    return;
  }
  if (from == DType::kBFloat16) {
    const auto* s = static_cast<const uint16_t*>(src);
    cast_to<double>(
        to, count, [s](int64_t i) { return static_cast<double>(bfloat16_bits_to_float(s[i])); },
        dst);
    return;
  }
  with_type(from, [&]<typename T>() {
    const T* s = static_cast<const T*>(src);
    if constexpr (std::is_floating_point_v<T>) {
      cast_to<double>(
          to, count, [s](int64_t i) { return static_cast<double>(s[i]); }, dst);
    } else {
      cast_to<int64_t>(
          to, count, [s](int64_t i) { return static_cast<int64_t>(s[i]); }, dst);
    }
  });
}

}  // namespace pare
