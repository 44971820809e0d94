#include "measure/roofline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "base/file.h"
#include "measure/ceilings.h"
#include "measure/toy.h"

namespace pare {
namespace {

using namespace measure_toy;  // NOLINT(google-build-using-namespace): this room's tests
using testing::Each;
using testing::Gt;
using testing::StrEq;

// 100 GB/s up to 1 MB, 10 GB/s from 100 MB; 1 float and 4 int8 products a nanosecond.
CeilingsRecord round_ceilings() {
  CeilingsRecord c;
  c.threads = 2;
  c.read_bytes = {1'000'000, 100'000'000};
  c.read_gb_s = {100, 10};
  c.float32_gmac_s = 1;
  c.int8_gmac_s = 4;
  c.barrier_us = 0.5;
  c.step_us = 0.25;
  return c;
}

TEST(Ceilings, RatesBetweenMeasuredSizes) {
  const CeilingsRecord c = round_ceilings();
  EXPECT_DOUBLE_EQ(read_bytes_per_us(c, 10), 100'000);
  EXPECT_DOUBLE_EQ(read_bytes_per_us(c, 1'000'000), 100'000);
  EXPECT_NEAR(read_bytes_per_us(c, 10'000'000), 55'000, 1e-6);  // half of the logarithm
  EXPECT_DOUBLE_EQ(read_bytes_per_us(c, 1e12), 10'000);
  EXPECT_DOUBLE_EQ(macs_per_us(c, "int8"), 4000);
  EXPECT_DOUBLE_EQ(macs_per_us(c, ""), 1000);
  EXPECT_DOUBLE_EQ(macs_per_us(c, "bfloat16"), 1000);  // no instructions: as float32
}

TEST(Ceilings, AreMeasuredOnceAndRetakenWhenAsked) {
  const auto folder = std::filesystem::temp_directory_path() / "pare-ceilings-test";
  std::filesystem::remove_all(folder);
  ::setenv("XDG_CACHE_HOME", folder.c_str(), 1);
  const auto first = load_ceilings({.threads = 2});
  ASSERT_TRUE(first.ok()) << first.status().message();
  EXPECT_TRUE(first->check().ok()) << first->check().message();
  EXPECT_THAT(first->read_gb_s, Each(Gt(0.1)));
  EXPECT_TRUE(std::ranges::is_sorted(first->read_gb_s, std::greater<>()));
  EXPECT_GT(first->barrier_us, 0.01);
  EXPECT_LT(first->step_us, 1000);
  const auto again = load_ceilings({.threads = 2});
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->seconds, first->seconds);
  EXPECT_EQ(again->read_gb_s, first->read_gb_s);
  EXPECT_NE(load_ceilings({.threads = 1})->seconds, first->seconds);
  EXPECT_NE(load_ceilings({.threads = 2, .retake = true})->seconds, first->seconds);
  // What is not a record is measured anew.
  for (const auto& file : std::filesystem::recursive_directory_iterator(folder)) {
    if (!file.is_regular_file()) continue;
    ASSERT_TRUE(write_file(file.path().string(), "{}").ok());
  }
  EXPECT_TRUE(load_ceilings({.threads = 2}).ok());
  std::filesystem::remove_all(folder);
}

LayerPlan layer(int64_t macs, int64_t weight_bytes, int64_t activation_bytes) {
  LayerPlan l;
  l.macs = macs;
  l.weight_bytes = l.least_weight_bytes = weight_bytes;
  l.activation_bytes = activation_bytes;
  l.arithmetic = "float32";
  return l;
}

TEST(Roofline, LimitsByHand) {
  std::vector<LayerPlan> plan = {layer(1'000'000, 400'000, 100'000), layer(0, 0, 500'000)};
  // All of it is 1 MB, which is read at 100,000 bytes a microsecond.
  const std::vector<LayerLimit> limits = layer_limits(plan, 4, round_ceilings());
  EXPECT_DOUBLE_EQ(limits[0].macs, 4e6);
  EXPECT_DOUBLE_EQ(limits[0].memory_us, 4 + 1);
  EXPECT_DOUBLE_EQ(limits[0].compute_us, 4000);
  EXPECT_DOUBLE_EQ(limits[0].overhead_us, 0.75);
  EXPECT_DOUBLE_EQ(limits[0].limit_us(), 4000.75);
  EXPECT_THAT(limits[0].bound(), StrEq("compute"));
  EXPECT_DOUBLE_EQ(limits[1].limit_us(), 5.75);
  EXPECT_THAT(limits[1].bound(), StrEq("memory"));
  EXPECT_THAT(layer_limits({layer(10, 40, 8)}, 1, round_ceilings())[0].bound(), StrEq("overhead"));
}

TEST(Roofline, CountsWhatAKernelCannotLeaveOut) {
  LayerPlan sparse = layer(1'000'000, 800'000, 0);
  sparse.arithmetic = "int8";
  sparse.skips_zero_weights = true;
  sparse.weight_density = 0.1;
  sparse.least_weight_bytes = 100'000;
  LayerPlan columns = layer(1'000'000, 400'000, 0);
  columns.skips_zeros_of = "x";
  const auto limits = layer_limits({sparse, columns}, 1, round_ceilings(), {{"x", {0.25, 0.5}}});
  EXPECT_DOUBLE_EQ(limits[0].macs, 1e5);
  EXPECT_DOUBLE_EQ(limits[0].compute_us, 25);
  EXPECT_DOUBLE_EQ(limits[0].memory_us, 1);
  EXPECT_DOUBLE_EQ(limits[1].macs, 2.5e5);
  EXPECT_DOUBLE_EQ(limits[1].weight_bytes, 2e5);
}

TEST(Roofline, PickedOutWeightsHaveRatesOfTheirOwn) {
  CeilingsRecord c = round_ceilings();
  c.sparse_row_int8_gmac_s = 0.5;
  c.sparse_rows_int8_gmac_s = 2;
  LayerPlan sparse = layer(1'000'000, 1'000'000, 0);
  sparse.arithmetic = "int8";
  sparse.skips_zero_weights = true;
  sparse.weight_density = 0.1;
  sparse.least_weight_bytes = 100'000;  // each is used once an image
  EXPECT_DOUBLE_EQ(layer_limits({sparse}, 1, c)[0].compute_us, 200);
  EXPECT_DOUBLE_EQ(layer_limits({sparse}, 64, c)[0].compute_us, 3200);
  sparse.arithmetic = "float32";  // not measured: as any float
  EXPECT_DOUBLE_EQ(layer_limits({sparse}, 1, c)[0].compute_us, 100);
}

TEST(Roofline, SlicesReadTheirWeightsEach) {
  LayerPlan sliced = layer(1000, 10'000, 80'000);
  sliced.slices = 8;
  const LayerLimit limit = layer_limits({sliced}, 32, round_ceilings())[0];
  EXPECT_DOUBLE_EQ(limit.weight_bytes, 80'000);
  EXPECT_DOUBLE_EQ(limit.activation_bytes, 80'000);
  EXPECT_DOUBLE_EQ(limit.overhead_us, 1);  // eight starts on two cores, no barrier
}

TEST(Roofline, CountsZerosOfTheInputs) {
  // Pixels behind a ReLU's reader: bytes 0 … 5 of which every second is zero in one image of two.
  const Graph graph = pixel_model();
  LayerPlan reader;
  reader.skips_zeros_of = "flat";
  const auto data = images({0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1}, {0, 1});
  const auto single = measure_input_densities(graph, {.threads = 1}, {reader}, *data, 1);
  ASSERT_TRUE(single.ok()) << single.status().message();
  EXPECT_DOUBLE_EQ(single->at("flat").elements, 5.0 / 12);
  EXPECT_DOUBLE_EQ(single->at("flat").columns, 5.0 / 12);
  const auto both = measure_input_densities(graph, {.threads = 1}, {reader}, *data, 2);
  ASSERT_TRUE(both.ok());
  EXPECT_DOUBLE_EQ(both->at("flat").elements, 5.0 / 12);
  EXPECT_DOUBLE_EQ(both->at("flat").columns, 4.0 / 6);  // 0 1 1 1 0 1
  EXPECT_TRUE(measure_input_densities(graph, {}, {LayerPlan()}, *data, 1)->empty());
}

}  // namespace
}  // namespace pare
