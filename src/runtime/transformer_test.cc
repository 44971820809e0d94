// A small transformer's steps run together (row_groups.h, projected attention): the same bits as
// one by one, for any number of threads.
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/executor.h"
#include "runtime/planner.h"
#include "runtime/toy.h"

namespace pare {
namespace {

constexpr int64_t kTokens = 36;
constexpr int64_t kDim = 24;
constexpr int64_t kHeads = 2;
constexpr int64_t kHeadDim = 64;  // whole panels of every instruction set

// What a test asks for by name.
struct Transformer {
  Graph graph;
  std::string qkv;
  std::string projected;
};

std::string norm(Net& net, const std::string& x) {
  return net.add("LayerNormalization", {x, net.floats({kDim}, 1.0F), net.floats({kDim}, 0.1F)});
}

// x W + b, of quantised operands if `integer`.
std::string dense(Net& net, const std::string& x, int64_t from, int64_t to, bool integer) {
  if (!integer) {
    const std::string y = net.add("MatMul", {x, net.weights({from, to})});
    return net.add("Add", {y, net.floats({to}, 0.1F)});
  }
  const std::string source = net.quantised(x, 0.02F, 120);
  const auto parameters = net.int8_parameters({from, to}, 1, 0.02F);
  return net.add("Add", {net.add("MatMul", {source, parameters[0]}), net.floats({to}, 0.1F)});
}

// Image bytes -> tokens -> one block -> dense.
Transformer transformer(bool integer) {
  Transformer t;
  Net net(11);
  std::string x = net.add("Conv", {net.normalised(), net.weights({kDim, 3, 2, 2})},
                          {{"strides", std::vector<int64_t>{2, 2}}});
  const auto ints = [&net](const std::vector<int64_t>& values) {
    return net.constant(
        Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values));
  };
  x = net.add("Reshape", {x, ints({0, kDim, kTokens})});
  x = net.add("Transpose", {x}, {{"perm", std::vector<int64_t>{0, 2, 1}}});
  constexpr int64_t kInner = kHeads * kHeadDim;
  t.qkv = dense(net, norm(net, x), kDim, 3 * kInner, integer);
  const std::string attended =
      net.add("Attention", {t.qkv}, {{"num_heads", kHeads}, {"scale", 0.1F}});
  net.graph.nodes.back().domain = "pare";
  t.projected = net.add("Add", {x, dense(net, attended, kInner, kDim, integer)});
  std::string y = net.add("Gelu", {dense(net, norm(net, t.projected), kDim, 40, integer)});
  y = net.add("Add", {t.projected, dense(net, y, 40, kDim, integer)});
  y = net.add("Flatten", {norm(net, y)});
  t.graph = net.finish(net.add("MatMul", {y, net.weights({kTokens * kDim, 10})}), 10);
  return t;
}

Tensor image_tensor(int64_t count) {
  Rng rng(12, RngPurpose::kTest);
  Tensor t(DType::kUInt8, {count, 3, 12, 12});
  for (uint8_t& v : t.mutable_values<uint8_t>()) v = static_cast<uint8_t>(rng.below(256));
  return t;
}

std::vector<float> scores(const Graph& graph, int64_t batch, int threads,
                          std::vector<std::string> keep = {}) {
  ExecutorOptions options;
  options.batch = batch;
  options.threads = threads;
  options.keep = std::move(keep);
  auto executor = Executor::create(graph, options);
  EXPECT_TRUE(executor.ok()) << executor.status().message();
  const Tensor input = image_tensor(batch);
  const auto outputs = executor->run(std::span(&input, 1));
  EXPECT_TRUE(outputs.ok()) << outputs.status().message();
  return to_float_vector((*outputs)[0]);
}

std::shared_ptr<const Plan> plan_of(const Graph& graph, int threads,
                                    std::vector<std::string> keep = {}) {
  PlanOptions options;
  options.threads = threads;
  options.kernels = *kernel_request("", false);
  options.keep = std::move(keep);
  WeightStore weights;
  auto planned = make_plan(graph, options, weights);
  EXPECT_TRUE(planned.ok()) << planned.status().message();
  return planned->plan;
}

bool has_kernel(const Plan& plan, const std::string& part) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [&](const Step& step) {
    return step.layer.kernel.find(part) != std::string::npos;
  });
}

class TransformerSteps : public ::testing::TestWithParam<bool> {};

TEST_P(TransformerSteps, TogetherHaveTheBitsOfOneByOne) {
  const Transformer t = transformer(GetParam());
  for (const int64_t batch : {1, 2, 5}) {
    const auto apart = scores(t.graph, batch, 1, {t.qkv, t.projected});
    for (const int threads : {1, 2, 3, 4}) {
      EXPECT_EQ(scores(t.graph, batch, threads), apart) << batch << " images, " << threads;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(FloatAndInteger, TransformerSteps, ::testing::Bool());

TEST(RowGroups, OneFromAttentionToTheHead) {
  const Transformer t = transformer(false);
  const auto plan = plan_of(t.graph, 2);
  ASSERT_EQ(plan->row_groups.size(), 1U);
  const RowGroup& group = plan->row_groups[0];
  // Projection, norm, two dense layers, norm; the head has one row.
  EXPECT_EQ(group.last - group.first, 5);
  EXPECT_EQ(group.rows, kTokens);
  EXPECT_EQ(group.blocks, 2);
  // A thread may be at the group's end while another is at its begin.
  for (int i = group.first; i < group.last; ++i) {
    for (int written : plan->steps[static_cast<size_t>(i)].writes) {
      EXPECT_LE(plan->buffers[static_cast<size_t>(written)].first, group.first);
      EXPECT_GE(plan->buffers[static_cast<size_t>(written)].last, group.last - 1);
    }
  }
  EXPECT_TRUE(plan_of(t.graph, 1)->row_groups.empty());
}

TEST(RowGroups, AShownValueEndsOne) {
  const Transformer t = transformer(false);
  const auto plan = plan_of(t.graph, 2, {t.projected});
  ASSERT_EQ(plan->row_groups.size(), 1U);
  ASSERT_EQ(plan->taps.size(), 1U);
  EXPECT_EQ(plan->row_groups[0].first, plan->taps[0].after_step + 1);
  EXPECT_EQ(plan->row_groups[0].last - plan->row_groups[0].first, 4);
}

TEST(ProjectedAttention, IsChosenUnlessItsProductIsShown) {
  const Transformer t = transformer(false);
  if (!detect_cpu().features.avx2) GTEST_SKIP() << "no variant runs here";
  EXPECT_TRUE(has_kernel(*plan_of(t.graph, 2), "projected"));
  EXPECT_FALSE(has_kernel(*plan_of(t.graph, 2, {t.qkv}), "projected"));
  // Two heads are shared out unevenly among three threads.
  EXPECT_FALSE(has_kernel(*plan_of(t.graph, 3), "projected"));
}

}  // namespace
}  // namespace pare
