#include "runtime/planner.h"

#include <memory>
#include <utility>

#include "base/cpu_features.h"
#include "graph/passes.h"
#include "runtime/constant_folding.h"
#include "runtime/four_bit_weights.h"
#include "runtime/fusion.h"
#include "runtime/quantised_passes.h"

namespace pare {

Result<Graph> prepare_graph(Graph graph) {
  PARE_ASSIGN_OR_RETURN(graph, fold_constants(widen_four_bit_weights(std::move(graph))));
  PARE_ASSIGN_OR_RETURN(graph, drop_repeated_quantisation(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, prepare_for_runtime(std::move(graph)));
  PARE_ASSIGN_OR_RETURN(graph, simplify_quantisation(std::move(graph)));
  return fold_constants(std::move(graph));
}

Result<PlannedGraph> make_plan(const Graph& graph, const PlanOptions& options,
                               WeightStore& weights) {
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, options.batch));
  FusionOptions fusion_options;
  fusion_options.keep.insert(options.keep.begin(), options.keep.end());
  fusion_options.keep_all = options.keep_all;
  fusion_options.join_attention = true;
  const Fusion fusion = plan_fusion(graph, inference, fusion_options);
  Lowering lowering(graph, inference, fusion, options, weights);
  PlannedGraph planned;
  PARE_ASSIGN_OR_RETURN(Plan plan, lowering.lower());
  planned.plan = std::make_shared<const Plan>(std::move(plan));
  planned.releasable = lowering.releasable();
  return planned;
}

Result<std::vector<Tensor>> evaluate_reference(const Graph& graph) {
  PlanOptions options;
  options.kernels.reference = true;
  WeightStore weights;
  PARE_ASSIGN_OR_RETURN(PlannedGraph planned, make_plan(graph, options, weights));
  PARE_ASSIGN_OR_RETURN(const auto runner, PlanRunner::create(std::move(planned.plan)));
  ThreadPool pool(1);
  PARE_RETURN_IF_ERROR(runner->run(pool));
  return runner->outputs();
}

Result<DType> storage_type(const std::string& precision) {
  const auto type = dtype_from_name(precision);
  if (type && (*type == DType::kFloat32 || *type == DType::kBFloat16 || *type == DType::kFloat16)) {
    return *type;
  }
  return invalid_argument("precision '" + precision + "': expected float32, bfloat16 or float16");
}

Result<KernelRequest> kernel_request(const std::string& cpu_level, bool reference) {
  KernelRequest request;
  request.cpu = detect_cpu().features;
  request.reference = reference;
  if (!cpu_level.empty()) {
    PARE_ASSIGN_OR_RETURN(request.cpu, limit_features(request.cpu, cpu_level));
  }
  return request;
}

}  // namespace pare
