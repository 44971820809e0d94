// TensorProto: one tensor of an ONNX file.
#ifndef PARE_GRAPH_ONNX_TENSOR_H_
#define PARE_GRAPH_ONNX_TENSOR_H_

#include <cstdint>
#include <map>
#include <string>

#include "pare/status.h"

#include "base/file.h"
#include "base/tensor.h"
#include "graph/protobuf.h"

namespace pare {

// The files external data lies in, mapped once each. Only files below `folder` are opened: a
// location that is absolute, climbs out with ".." or leads out through a link is refused.
class ExternalFiles {
 public:
  explicit ExternalFiles(std::string folder) : folder_(std::move(folder)) {}
  // `length` bytes from `offset` of the file at `location`; rests on the mapping.
  Result<std::shared_ptr<const std::byte>> open(const std::string& location, int64_t offset,
                                                int64_t length);

 private:
  Result<MappedFile*> map(const std::string& location);

  std::string folder_;
  std::map<std::string, MappedFile> files_;
};

struct NamedTensor {
  std::string name;
  Tensor tensor;
};

// May throw what protozero throws. Messages begin with the tensor's name.
Result<NamedTensor> read_onnx_tensor(protozero::pbf_reader message, ExternalFiles& files);

// Where a tensor's bytes stand, when not in the model file.
struct ExternalPlace {
  std::string location;
  int64_t offset = 0;
};
void write_onnx_tensor(protozero::pbf_writer& writer, const std::string& name, const Tensor& tensor,
                       const ExternalPlace* external);

}  // namespace pare

#endif  // PARE_GRAPH_ONNX_TENSOR_H_
