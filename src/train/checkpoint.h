// Checkpoint: the whole state of a training run in one file, checked when read.
//
//   bytes 0-7     "PARECKPT"
//   bytes 8-15    header length in bytes, little-endian
//   bytes 16-47   XXH3-128 of the header, hexadecimal
//   header        JSON: {"state": ..., "tensors": [{"name", "type", "shape", "offset", "hash"}]}
//   from there on, rounded up to 64: the tensors at their offsets, 64-byte aligned, row-major
//
// It is written under a temporary name, synced and renamed, so that a run killed at any moment
// leaves the last whole one.
#ifndef PARE_TRAIN_CHECKPOINT_H_
#define PARE_TRAIN_CHECKPOINT_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "pare/status.h"

#include "base/tensor.h"

namespace pare {

struct Checkpoint {
  nlohmann::json state;  // small things: position, recipe, sums
  std::map<std::string, Tensor> tensors;
};

Status write_checkpoint(const std::string& path, const Checkpoint& checkpoint);
// Errors name the file and what of it is wrong. Tensors rest on the mapped file.
Result<Checkpoint> read_checkpoint(const std::string& path);

}  // namespace pare

#endif  // PARE_TRAIN_CHECKPOINT_H_
