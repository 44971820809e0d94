// ONNX files. One that is read must survive what commands do with it next: the passes, and being
// written and read again.
#include <cstdint>
#include <cstdlib>
#include <span>

#include "graph/cost.h"
#include "graph/onnx.h"
#include "graph/passes.h"

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto graph = pare::parse_onnx(std::as_bytes(std::span(data, size)), "");
  if (!graph.ok()) return 0;
  const auto bytes = pare::serialise_onnx(*graph);
  require(bytes.ok());
  require(pare::parse_onnx(std::as_bytes(std::span(*bytes)), "").ok());
  require(pare::node_costs(*graph).ok());
  const auto prepared = pare::prepare_for_runtime(*graph);
  require(prepared.ok() && pare::check_graph(*prepared).ok());
  return 0;
}
