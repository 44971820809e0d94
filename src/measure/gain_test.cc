#include "measure/gain.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "measure/toy.h"

namespace pare {
namespace {

using namespace measure_toy;  // NOLINT(google-build-using-namespace): this room's tests
using testing::HasSubstr;
using testing::IsEmpty;

// 100 GB/s, 1 float and 2 int8 products a nanosecond, 1 µs to start a step.
CeilingsRecord ceilings() {
  CeilingsRecord c;
  c.threads = 1;
  c.read_bytes = {1000};
  c.read_gb_s = {100};
  c.float32_gmac_s = 1;
  c.int8_gmac_s = 2;
  c.barrier_us = 5;  // of no pool
  c.step_us = 1;
  return c;
}

LayerPlan layer(const std::string& name, int64_t macs, int64_t weight_bytes, int64_t activations) {
  LayerPlan l;
  l.name = name;
  l.operation = "Gemm";
  l.kernel = "gemm_f32_6x16_avx2";
  l.macs = macs;
  l.weight_bytes = l.least_weight_bytes = weight_bytes;
  l.activation_bytes = activations;
  l.arithmetic = "float32";
  return l;
}

TimedPlan timed(std::vector<LayerPlan> layers, std::vector<double> times_us) {
  TimedPlan plan;
  plan.limits = layer_limits(layers, 1, ceilings());
  plan.layers = std::move(layers);
  plan.times_us = std::move(times_us);
  return plan;
}

LayerGain gain_of(const LayerPlan& before, double before_us, const LayerPlan& after,
                  double after_us) {
  return compare_plans(timed({before}, {before_us}), timed({after}, {after_us}), ceilings())
      .layers[0];
}

LayerPlan integers(LayerPlan l) {
  l.arithmetic = "int8";
  l.kernel = "gemm_u8s8_4x16_avx2";
  l.weight_bytes = l.least_weight_bytes = l.weight_bytes / 4;
  return l;
}

TEST(Gain, OfWhatIsFasterNothingIsExplained) {
  const LayerPlan a = layer("fc", 1000, 4'000'000, 0);
  const LayerGain gain = gain_of(a, 82, integers(a), 30);
  EXPECT_DOUBLE_EQ(gain.predicted, 41.0 / 11);  // 40 and 10 µs of bytes, 1 to start
  EXPECT_DOUBLE_EQ(gain.measured, 82.0 / 30);
  EXPECT_THAT(gain.reason, IsEmpty());
}

TEST(Gain, ReasonsInASentence) {
  const LayerPlan small = layer("fc", 400, 400, 0);
  EXPECT_EQ(gain_of(small, 2, integers(small), 2).reason,
            "bound by launch and barrier overhead, not by bytes or operations: 0.2 µs of work");
  const LayerPlan dense = layer("fc", 1'000'000, 4000, 0);
  LayerPlan pruned = dense;
  pruned.weight_density = 0.3;
  pruned.reason =
      "gemm_f32_sparse_avx512: needs avx512; gemm_u8s8_sparse_avx2: weights are not int8; "
      "gemm_f32_sparse_avx2: more than 22 % of the weights are not zero; first that fits";
  EXPECT_EQ(gain_of(dense, 1500, pruned, 1500).reason,
            "70 % sparse, but the kernel for zeros is not taken: more than 22 % of the weights are "
            "not zero");
  pruned.reason = "first that fits";
  EXPECT_THAT(gain_of(dense, 1500, pruned, 1500).reason,
              HasSubstr("no kernel here leaves out the zeros"));
  EXPECT_EQ(gain_of(dense, 1500, dense, 1500).reason,
            "as many bytes and operations as in the original");
  const LayerGain slow = gain_of(dense, 1251.25, integers(dense), 1250);
  EXPECT_EQ(slow.reason,
            "bytes and operations would allow 2.0 times, but gemm_u8s8_4x16_avx2 reaches 40 % of "
            "its limit where the original's gemm_f32_6x16_avx2 reaches 80 %");
  LayerPlan moving = layer("pool", 0, 0, 1'000'000);
  LayerPlan lighter = moving;
  lighter.activation_bytes = 970'000;
  EXPECT_EQ(gain_of(moving, 12, lighter, 12).reason,
            "bound by 970.0 kB of activations, which weights have no part in");
}

TEST(Gain, SumsUpAndNamesStepsOfOneModelOnly) {
  const LayerPlan fc = layer("fc", 1000, 4'000'000, 0);
  const LayerPlan gone = layer("gone", 0, 0, 100'000);
  LayerPlan rounds = layer("q", 0, 0, 100'000);
  rounds.operation = "QuantizeLinear";
  const TimedPlan original = timed({fc, gone}, {82, 4});
  const TimedPlan compressed = timed({rounds, integers(fc)}, {6, 30});
  const PlanGain gain = compare_plans(original, compressed, ceilings(), {{"q", "of a reason"}});
  ASSERT_EQ(gain.layers.size(), 3U);
  EXPECT_EQ(gain.layers[0].reason, "Q/DQ left unfused because of a reason");
  EXPECT_EQ(gain.layers[0].before_us, 0);
  EXPECT_EQ(gain.layers[2].name, "gone");
  EXPECT_EQ(gain.layers[2].after_us, 0);
  EXPECT_DOUBLE_EQ(gain.measured, 86.0 / 36);
  // fc: 82 µs times 11 / 41; q: its limit of 2 µs, by what all of the original take above theirs.
  EXPECT_DOUBLE_EQ(gain.predicted, 86 / (82 * 11.0 / 41 + 2 * 86.0 / 43));
}

TEST(Gain, ACopyIsNotTheLayerItIsFor) {
  const LayerPlan fc = layer("fc", 1000, 4'000'000, 0);
  LayerPlan copy = layer("fc", 0, 0, 1000);
  copy.operation = "copy to another memory order";
  const PlanGain gain =
      compare_plans(timed({copy, fc}, {2, 82}), timed({integers(fc)}, {30}), ceilings());
  ASSERT_EQ(gain.layers.size(), 2U);
  EXPECT_DOUBLE_EQ(gain.layers[0].before_us, 82);
  EXPECT_DOUBLE_EQ(gain.layers[1].before_us, 2);
  EXPECT_EQ(gain.layers[1].operation, "copy to another memory order");
}

std::vector<LayerPlan> plan_of(const Graph& graph) {
  Session session = session_of(graph);
  return *session.plan(1);
}

TEST(Unfused, SaysWhy) {
  const Graph good = int8_model(std::vector<int8_t>(36, 1));
  const auto none = why_unfused(good, plan_of(good));
  ASSERT_TRUE(none.ok()) << none.status().message();
  EXPECT_FALSE(none->contains("fc"));
  // A step that only moves what the product reads says nothing about the product.
  std::vector<LayerPlan> with_copy = plan_of(good);
  LayerPlan copy = with_copy.back();
  copy.name = "fc";
  copy.operation = "copy to another memory order";
  copy.arithmetic = "";
  copy.macs = 0;
  with_copy.insert(with_copy.begin(), copy);
  EXPECT_FALSE(why_unfused(good, with_copy)->contains("fc"));
  // Weights alone: the product is one of floats.
  Graph weights_only = good;
  weights_only.nodes[5].inputs[0] = "flat";
  remove_unused(weights_only);
  auto why = why_unfused(weights_only, plan_of(weights_only));
  ASSERT_TRUE(why.ok());
  EXPECT_EQ(why->at("fc"), "its input 'flat' is not quantised");
  Graph scaled = good;
  scaled.nodes[5].attributes["alpha"] = 2.0F;
  why = why_unfused(scaled, plan_of(scaled));
  ASSERT_TRUE(why.ok());
  EXPECT_EQ(why->at("fc"), "the Gemm scales or transposes its operands");
  Graph along_k = good;
  along_k.nodes[4].attributes["axis"] = int64_t{1};
  why = why_unfused(along_k, plan_of(along_k));
  ASSERT_TRUE(why.ok());
  EXPECT_THAT(why->at("fc"), HasSubstr("another dimension"));
}

}  // namespace
}  // namespace pare
