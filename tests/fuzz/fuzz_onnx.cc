// ONNX files. One that is read must survive what commands do with it next: the passes, and being
// written and read again.
#include "graph/cost.h"
#include "graph/onnx.h"
#include "graph/passes.h"
#include "targets.h"

bool fuzz_onnx(std::span<const std::byte> bytes) {
  const auto graph = pare::parse_onnx(bytes, "");
  if (!graph.ok()) return false;
  const auto written = pare::serialise_onnx(*graph);
  require(written.ok());
  require(pare::parse_onnx(std::as_bytes(std::span(*written)), "").ok());
  require(pare::node_costs(*graph).ok());
  const auto prepared = pare::prepare_for_runtime(*graph);
  require(prepared.ok() && pare::check_graph(*prepared).ok());
  return true;
}
