// Field numbers of onnx.proto that the reader and the writer share.
#ifndef PARE_GRAPH_ONNX_FIELDS_H_
#define PARE_GRAPH_ONNX_FIELDS_H_

#include <cstdint>

namespace pare {

// Under this key of metadata_props stands the input contract.
inline constexpr const char* kContractKey = "pare.contract";

struct ModelField {
  enum : uint32_t {
    kIrVersion = 1,
    kProducerName = 2,
    kGraph = 7,
    kOpsetImport = 8,
    kMetadataProps = 14,
  };
};

struct GraphField {
  enum : uint32_t {
    kNode = 1,
    kName = 2,
    kInitializer = 5,
    kInput = 11,
    kOutput = 12,
    kSparseInitializer = 15,
  };
};

struct NodeField {
  enum : uint32_t {
    kInput = 1,
    kOutput = 2,
    kName = 3,
    kOpType = 4,
    kAttribute = 5,
    kDomain = 7,
  };
};

struct AttributeField {
  enum : uint32_t {
    kName = 1,
    kF = 2,
    kI = 3,
    kS = 4,
    kT = 5,
    kFloats = 7,
    kInts = 8,
    kStrings = 9,
    kType = 20,
  };
};

struct AttributeType {
  enum : int32_t {
    kFloat = 1,
    kInt = 2,
    kString = 3,
    kTensor = 4,
    kFloats = 6,
    kInts = 7,
    kStrings = 8,
  };
};

}  // namespace pare

#endif  // PARE_GRAPH_ONNX_FIELDS_H_
