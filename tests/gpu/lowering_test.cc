// Programs of the nets we build: what stands in them, without a GPU.
#include "gpu/lowering.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "gpu/operands.h"
#include "graph/graph.h"
#include "models/models.h"
#include "runtime/planner.h"

namespace pare::gpu {
namespace {

struct Lowered {
  Program program;
  WeightBlock block;
};

Result<Lowered> lower(const std::string& model, int64_t batch, DType storage,
                      const ProgramOptions& target = {}) {
  PARE_ASSIGN_OR_RETURN(const Graph graph, build_model(model, {}));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(graph, 1));
  PARE_ASSIGN_OR_RETURN(const InputAdapter adapter,
                        InputAdapter::create(graph, infos.at(graph.inputs[0].name)));
  PARE_ASSIGN_OR_RETURN(const Graph prepared, prepare_graph(graph));
  Lowered lowered;
  WeightStore constants;
  PARE_ASSIGN_OR_RETURN(lowered.program, make_program(prepared, batch, storage, adapter, constants,
                                                      lowered.block, target));
  return lowered;
}

TEST(Lowering, AlexnetNeedsNoCopies) {
  auto lowered = lower("alexnet", 2, DType::kFloat16);
  ASSERT_TRUE(lowered.ok()) << lowered.status().message();
  const Program& p = lowered->program;
  EXPECT_EQ(p.inputs.size(), 1U);
  EXPECT_EQ(p.products.size(), 8U);
  EXPECT_EQ(p.pools.size(), 3U);
  EXPECT_TRUE(p.chains.empty());
  EXPECT_EQ(p.steps.size(), 12U);
  EXPECT_EQ(p.input_bytes, 2 * 3 * 32 * 32);
  EXPECT_EQ(p.output_bytes, 2 * 10 * 4);
  const ProductOp& conv1 = p.products[0];
  EXPECT_EQ(conv1.in_c, 4);
  EXPECT_EQ(conv1.k, 11 * 11 * 4);
  EXPECT_EQ(conv1.weights_stride % 8, 0);
  EXPECT_EQ(p.products.back().dst.space, Space::kOutput);
  EXPECT_EQ(p.products.back().dst.type, DType::kFloat32);
}

TEST(Lowering, FirstLayerReadsSixteenBytes) {
  for (const DType storage : {DType::kFloat32, DType::kFloat16}) {
    auto lowered = lower("alexnet", 1, storage, {.wide_pixels = true});
    ASSERT_TRUE(lowered.ok()) << lowered.status().message();
    const ProductOp& conv1 = lowered->program.products[0];
    EXPECT_EQ(conv1.in_c * dtype_bits(storage) / 8, 16);
    EXPECT_EQ(conv1.kernel_w, storage == DType::kFloat32 ? 11 : 6);
    EXPECT_EQ(conv1.dilation_w, storage == DType::kFloat32 ? 1 : 2);
  }
}

TEST(Lowering, TransformerKeepsItsBlocks) {
  auto lowered = lower("vit-seed", 3, DType::kBFloat16);
  ASSERT_TRUE(lowered.ok()) << lowered.status().message();
  const Program& p = lowered->program;
  EXPECT_EQ(p.attentions.size(), 8U);
  EXPECT_EQ(p.rows.size(), 17U);
  EXPECT_EQ(p.products.size(), 1U + 8 * 4 + 3);
  EXPECT_EQ(p.chains.size(), 1U);
}

TEST(Lowering, SmallTransformerIsOneOperation) {
  auto lowered =
      lower("vit-seed", 3, DType::kFloat16, {.encoders = true, .periodic_residuals = true});
  ASSERT_TRUE(lowered.ok()) << lowered.status().message();
  const Program& p = lowered->program;
  ASSERT_EQ(p.encoders.size(), 1U);
  const EncoderOp& op = p.encoders[0];
  EXPECT_EQ(op.layer_count, 8);
  EXPECT_EQ(op.tokens, 25);
  EXPECT_EQ(op.heads, 4);
  EXPECT_EQ(op.mlp, 128);
  EXPECT_EQ(op.last_gamma.space, Space::kWeights);
  // Pixels, patches with positions, the blocks, three dense layers.
  EXPECT_EQ(p.steps.size(), 6U);
  EXPECT_EQ(p.products[0].residual_period, 25);
}

// Whatever an operation reads or writes lies inside its space.
TEST(Lowering, OperandsLieInTheirSpaces) {
  for (const char* model : {"alexnet", "vit-seed", "resnet18", "vit-s/4", "vit-ti/16"}) {
    auto lowered = lower(model, 1, DType::kFloat32);
    ASSERT_TRUE(lowered.ok()) << model << ": " << lowered.status().message();
    Program& p = lowered->program;
    each_kind(p, [&](auto& ops) {
      for (auto& op : ops) {
        each_operand(op, [&](const Operand& operand) {
          const int64_t limit = operand.space == Space::kArena     ? p.arena_bytes
                                : operand.space == Space::kWeights ? lowered->block.byte_count()
                                : operand.space == Space::kInput   ? p.input_bytes
                                : operand.space == Space::kOutput  ? p.output_bytes
                                                                   : 1;
          EXPECT_GE(operand.offset, 0);
          EXPECT_LT(operand.offset, limit) << model;
        });
      }
    });
  }
}

// A second batch size uses the weights that the first has put there.
TEST(Lowering, BatchSizesShareWeights) {
  auto graph = build_model("alexnet", {});
  ASSERT_TRUE(graph.ok());
  const ValueInfos infos = *infer_shapes(*graph, 1);
  const InputAdapter adapter = *InputAdapter::create(*graph, infos.at(graph->inputs[0].name));
  const Graph prepared = *prepare_graph(*graph);
  WeightStore constants;
  WeightBlock block;
  ASSERT_TRUE(make_program(prepared, 1, DType::kFloat32, adapter, constants, block, {}).ok());
  const int64_t bytes = block.byte_count();
  EXPECT_GT(bytes, 90'000'000);
  ASSERT_TRUE(make_program(prepared, 8, DType::kFloat32, adapter, constants, block, {}).ok());
  EXPECT_EQ(block.byte_count(), bytes);
}

}  // namespace
}  // namespace pare::gpu
