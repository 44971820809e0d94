// protozero, set up so that hostile input cannot reach undefined behaviour: a field of another wire
// type than expected throws (by default protozero only asserts it), like every other malformed
// byte. All parsing stays inside read_protobuf(), which turns what was thrown into a Status.
//
// Include this header, never protozero's own.
#ifndef PARE_GRAPH_PROTOBUF_H_
#define PARE_GRAPH_PROTOBUF_H_

#include <exception>

namespace pare {

struct ProtobufError : std::exception {
  const char* what() const noexcept override { return "a field of the wrong kind"; }
};

}  // namespace pare

#define protozero_assert(condition)                \
  do {                                             \
    if (!(condition)) throw pare::ProtobufError(); \
  } while (false)

#include <fmt/format.h>

#include <new>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

// Runs `parse`, which returns a Status or a Result; what protozero or the allocator throws becomes
// kCorrupt or kOutOfMemory.
template <typename Parse>
auto read_protobuf(const char* what, Parse parse) -> decltype(parse()) {
  try {
    return parse();
  } catch (const std::bad_alloc&) {
    return out_of_memory(fmt::format("no memory to read {}", what));
  } catch (const std::exception& error) {
    return corrupt(fmt::format("not a valid {}: {}", what, error.what()));
  }
}

// Repeated numbers, which writers store one by one or packed.
inline void read_int64s(protozero::pbf_reader& message, std::vector<int64_t>& values) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) {
    values.push_back(message.get_int64());
    return;
  }
  for (const int64_t v : message.get_packed_int64()) values.push_back(v);
}

inline void read_floats(protozero::pbf_reader& message, std::vector<float>& values) {
  if (message.wire_type() != protozero::pbf_wire_type::length_delimited) {
    values.push_back(message.get_float());
    return;
  }
  for (const float v : message.get_packed_float()) values.push_back(v);
}

}  // namespace pare

#endif  // PARE_GRAPH_PROTOBUF_H_
