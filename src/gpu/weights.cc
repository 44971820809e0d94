#include "gpu/weights.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "base/cache_line.h"
#include "base/file.h"

namespace pare::gpu {

Operand WeightBlock::append(const Tensor& tensor) {
  const Operand place{.offset = end_, .space = Space::kWeights, .type = tensor.type()};
  new_.push_back({end_, tensor});
  end_ += round_up_64(tensor.byte_count());
  return place;
}

Result<Operand> WeightBlock::get(const std::string& key, const Make& make) {
  if (const auto it = places_.find(key); it != places_.end()) return it->second;
  PARE_ASSIGN_OR_RETURN(const Tensor tensor, make());
  return places_.emplace(key, append(tensor)).first->second;
}

Operand WeightBlock::constant(const Tensor& tensor) {
  const std::span<const std::byte> bytes(tensor.data(), static_cast<size_t>(tensor.byte_count()));
  const std::string key =
      fmt::format("={}|{}|{}", dtype_name(tensor.type()), bytes.size(), hash_bytes(bytes));
  if (const auto it = places_.find(key); it != places_.end()) return it->second;
  return places_.emplace(key, append(tensor)).first->second;
}

std::vector<WeightBlock::Part> WeightBlock::take_new() { return std::exchange(new_, {}); }

}  // namespace pare::gpu
