#include "compress/compress.h"

#include <fmt/format.h>

#include <chrono>

#include "compress/layers.h"

namespace pare {
namespace {

Status check_context(const Recipe& recipe, const CompressContext& context) {
  if (recipe.steps.empty()) return invalid_argument("the recipe has no steps");
  if (context.calibration_images < 1)
    return invalid_argument(
        fmt::format("{} calibration images: at least 1 is needed", context.calibration_images));
  for (const RecipeStep& step : recipe.steps) {
    const Method& method = *find_method(step.method);
    if (method.needs_images(step) && (context.train == nullptr || context.train->size() == 0))
      return invalid_argument(
          fmt::format("step '{}' looks at training images, and there are none", step_string(step)));
    if (method.needs_trainer(step) && context.trainer == nullptr)
      return unsupported(
          fmt::format("step '{}' needs the trainer, and this build of pare has no training",
                      step_string(step)));
  }
  return ok_status();
}

Status check_not_quantised(const Graph& graph, const Recipe& recipe) {
  for (const Node& node : graph.nodes) {
    if (node.op != "DequantizeLinear" && node.op != "MatMulInteger" && node.op != "ConvInteger")
      continue;
    return invalid_argument(
        fmt::format("the model is quantised already (node '{}' is a {}); recipe '{}' needs the "
                    "float32 model that it was made from",
                    node.name, node.op, recipe_string(recipe)));
  }
  return ok_status();
}

}  // namespace

Status check_compressible(const Graph& graph, const Recipe& recipe) {
  PARE_RETURN_IF_ERROR(check_not_quantised(graph, recipe));
  return check_finite_weights(graph);
}

Result<Compressed> compress(const Graph& graph, const Recipe& recipe, CompressContext context) {
  PARE_RETURN_IF_ERROR(check_context(recipe, context));
  PARE_RETURN_IF_ERROR(check_compressible(graph, recipe));
  Compressed result;
  PARE_ASSIGN_OR_RETURN(result.graph, prepare_for_compression(graph));
  context.original = result.graph;
  for (const RecipeStep& step : recipe.steps) {
    PARE_RETURN_IF_ERROR(context.check_stop());
    RecipeStepReport& report = result.steps.emplace_back();
    report.step = step.shown.empty() ? step_string(step) : step.shown;
    context.report = &report;
    context.say(report.step);
    const auto start = std::chrono::steady_clock::now();
    if (!find_method(step.method)->keeps_shared) context.shared.clear();
    Result<Graph> next = find_method(step.method)->apply(result.graph, step, context);
    if (!next.ok()) return next.status().with_context(fmt::format("step '{}'", report.step));
    result.graph = *std::move(next);
    PARE_RETURN_IF_ERROR(
        check_graph(result.graph).with_context(fmt::format("after step '{}'", report.step)));
    report.seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  std::string& done = result.graph.metadata["compression"];
  done += (done.empty() ? "" : "+") + recipe_string(recipe);
  if (needs_images(recipe)) {
    result.graph.metadata["compression images"] =
        fmt::format("from: {} (seed {})", context.train->description(), context.seed);
  }
  return result;
}

}  // namespace pare
