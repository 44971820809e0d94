#include "train/tensors.h"

#include <fmt/format.h>

#include <cstring>

namespace pare {

Result<at::ScalarType> torch_type(DType type) {
  switch (type) {
    case DType::kFloat32:
      return at::kFloat;
    case DType::kFloat16:
      return at::kHalf;
    case DType::kBFloat16:
      return at::kBFloat16;
    case DType::kFloat64:
      return at::kDouble;
    case DType::kInt8:
      return at::kChar;
    case DType::kUInt8:
      return at::kByte;
    case DType::kInt16:
      return at::kShort;
    case DType::kUInt16:
      return at::kUInt16;
    case DType::kInt32:
      return at::kInt;
    case DType::kInt64:
      return at::kLong;
    case DType::kBool:
      return at::kBool;
    default:
      return unsupported(fmt::format("training knows no tensors of type {}", dtype_name(type)));
  }
}

Result<DType> pare_type(at::ScalarType type) {
  for (DType candidate :
       {DType::kFloat32, DType::kFloat16, DType::kBFloat16, DType::kFloat64, DType::kInt8,
        DType::kUInt8, DType::kInt16, DType::kUInt16, DType::kInt32, DType::kInt64, DType::kBool}) {
    if (torch_type(candidate).value() == type) return candidate;
  }
  return unsupported(fmt::format("no tensor type answers to LibTorch's {}", at::toString(type)));
}

Result<at::Tensor> to_torch(const Tensor& tensor) {
  PARE_ASSIGN_OR_RETURN(const at::ScalarType type, torch_type(tensor.type()));
  at::Tensor out = at::empty(tensor.shape(), at::TensorOptions().dtype(type));
  if (tensor.byte_count() > 0) {
    std::memcpy(out.data_ptr(), tensor.data(), static_cast<size_t>(tensor.byte_count()));
  }
  return out;
}

Result<Tensor> from_torch(const at::Tensor& tensor, const FromTorchOptions& options) {
  PARE_ASSIGN_OR_RETURN(const DType type, pare_type(tensor.scalar_type()));
  const at::Tensor host = tensor.detach().to(at::kCPU).contiguous();
  const Shape shape(host.sizes().begin(), host.sizes().end());
  if (options.share || host.data_ptr() != tensor.data_ptr()) {
    // The deleter holds the LibTorch tensor, and so its memory, alive.
    const auto* memory = static_cast<const std::byte*>(host.data_ptr());
    return Tensor::from_external(type, shape, {memory, [host](const std::byte*) {}});
  }
  PARE_ASSIGN_OR_RETURN(Tensor out, Tensor::create(type, shape));
  if (out.byte_count() > 0) {
    std::memcpy(out.mutable_data(), host.data_ptr(), static_cast<size_t>(out.byte_count()));
  }
  return out;
}

std::string torch_error_line(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string text =
      torch_error != nullptr ? torch_error->what_without_backtrace() : std::string(error.what());
  return text.substr(0, text.find('\n'));
}

}  // namespace pare
