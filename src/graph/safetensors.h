// safetensors files: named tensors, nothing else.
//
// Layout: the header's length (8 bytes, little endian), the header (a JSON object: for each tensor
// its type, shape and the range of its bytes in the data; free text under "__metadata__"), then the
// data without holes or overlaps. Everything is checked: the ranges must cover the data exactly,
// each as long as its type and shape say.
//
// Source: github.com/huggingface/safetensors, README, "Format".
#ifndef PARE_GRAPH_SAFETENSORS_H_
#define PARE_GRAPH_SAFETENSORS_H_

#include <cstddef>
#include <map>
#include <memory>
#include <string>

#include "pare/status.h"

#include "base/tensor.h"

namespace pare {

struct Safetensors {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

// Tensors rest on the mapped file where their alignment allows.
Result<Safetensors> read_safetensors(const std::string& path);
// From memory that `data` keeps alive.
Result<Safetensors> parse_safetensors(const std::shared_ptr<const std::byte>& data, size_t size);

// Whole or not at all. The format has no 4-bit types: kUnsupported.
Status write_safetensors(const Safetensors& content, const std::string& path);

}  // namespace pare

#endif  // PARE_GRAPH_SAFETENSORS_H_
