// Status and Result: how every function of Pare says that it failed.
//
// Nothing in the library throws, prints or exits. A failure is a code (what kind, which also
// decides the program's exit code) and one line that says what, where, what was expected and what
// was found:
//   "net.onnx: node 'conv1': weights of 64x3x11x11 expect 3 channels, input has 1"
#ifndef PARE_STATUS_H_
#define PARE_STATUS_H_

#include <optional>
#include <string>
#include <utility>

namespace pare {

enum class StatusCode {
  kOk,
  kInvalidArgument,  // the caller asked for something impossible (exit code 2 on the command line)
  kNotFound,         // a file, a tensor, a model name that does not exist
  kCorrupt,          // bytes that do not have the form their format demands
  kUnsupported,      // well-formed, but something Pare does not do: named, never guessed
  kIo,               // the operating system refused: unreadable, unwritable, disk full, network
  kOutOfMemory,
  kNumeric,    // NaN or infinity where a finite number is needed
  kCancelled,  // the user asked to stop
  kInternal,   // a broken promise inside Pare: always a bug
};

// The code's name as users see it: "corrupt", "not found", ...
const char* status_code_name(StatusCode code);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(StatusCode code, std::string message) : code_(code), message_(std::move(message)) {}

  bool ok() const { return code_ == StatusCode::kOk; }
  StatusCode code() const { return code_; }
  const std::string& message() const { return message_; }

  // The same failure with "<context>: " put before its message; ok stays ok.
  Status with_context(const std::string& context) const {
    return ok() ? *this : Status(code_, context + ": " + message_);
  }

 private:
  StatusCode code_ = StatusCode::kOk;
  std::string message_;
};

inline Status ok_status() { return {}; }
inline Status invalid_argument(std::string m) {
  return {StatusCode::kInvalidArgument, std::move(m)};
}
inline Status not_found(std::string m) { return {StatusCode::kNotFound, std::move(m)}; }
inline Status corrupt(std::string m) { return {StatusCode::kCorrupt, std::move(m)}; }
inline Status unsupported(std::string m) { return {StatusCode::kUnsupported, std::move(m)}; }
inline Status io_error(std::string m) { return {StatusCode::kIo, std::move(m)}; }
inline Status out_of_memory(std::string m) { return {StatusCode::kOutOfMemory, std::move(m)}; }
inline Status numeric_error(std::string m) { return {StatusCode::kNumeric, std::move(m)}; }
inline Status cancelled(std::string m) { return {StatusCode::kCancelled, std::move(m)}; }
inline Status internal_error(std::string m) { return {StatusCode::kInternal, std::move(m)}; }

// A value or the reason there is none. Reading the value of a failed Result is a bug that
// std::optional turns into an assertion in debug builds.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}         // NOLINT(google-explicit-constructor)
  Result(Status status) : status_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    if (status_.ok()) status_ = internal_error("a Result was made from an ok Status");
  }

  bool ok() const { return value_.has_value(); }
  const Status& status() const { return status_; }
  T& value() & { return *value_; }
  const T& value() const& { return *value_; }
  T&& value() && { return *std::move(value_); }
  T& operator*() & { return *value_; }
  const T& operator*() const& { return *value_; }
  T&& operator*() && { return *std::move(value_); }
  T* operator->() { return &*value_; }
  const T* operator->() const { return &*value_; }

 private:
  std::optional<T> value_;
  Status status_;
};

}  // namespace pare

#define PARE_CONCAT_INNER_(a, b) a##b
#define PARE_CONCAT_(a, b) PARE_CONCAT_INNER_(a, b)

// Leaves the enclosing function with the Status when `expr` (a Status) failed.
#define PARE_RETURN_IF_ERROR(expr)                                                     \
  do {                                                                                 \
    if (::pare::Status pare_status_ = (expr); !pare_status_.ok()) return pare_status_; \
  } while (false)

// PARE_ASSIGN_OR_RETURN(auto graph, read_onnx(path)): the value of a Result, or leave with its
// Status.
#define PARE_ASSIGN_OR_RETURN(lhs, expr) \
  PARE_ASSIGN_OR_RETURN_IMPL_(PARE_CONCAT_(pare_result_, __LINE__), lhs, expr)
#define PARE_ASSIGN_OR_RETURN_IMPL_(result, lhs, expr) \
  auto result = (expr);                                \
  if (!result.ok()) return result.status();            \
  lhs = std::move(result).value()

#endif  // PARE_STATUS_H_
