// rounding=gptq through recipes. The formula itself is gptq_test.cc's.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compress/compress.h"
#include "compress/toy.h"

namespace pare {
namespace {

using toy::compressed;
using toy::logits;
using toy::snr_db;

// Images that no range or matrix was measured on.
TEST(GptqRecipe, AnswersLoseLessThanByNearestRounding) {
  const Graph graph = toy::net();
  const std::vector<float> whole = logits(graph);
  for (const std::string recipe : {"int8,weights=4", "int8,weights=4,group=32", "int4"}) {
    const double nearest =
        snr_db(whole, logits(compressed(graph, recipe + ",rounding=nearest").graph));
    const double gptq = snr_db(whole, logits(compressed(graph, recipe + ",rounding=gptq").graph));
    EXPECT_GT(gptq, nearest + 2) << recipe;
  }
}

// Any number of threads; zeros of a pattern stay zeros.
TEST(GptqRecipe, SameIntegersAndMasksHold) {
  const Graph graph = toy::net();
  const std::string recipe = "prune:0.5,pattern=2:4+int8,rounding=gptq";
  CompressContext context = toy::context();
  const Graph two = compressed(graph, recipe, context).graph;
  context.threads = 3;
  const Graph three = compressed(graph, recipe, context).graph;
  const Graph pruned = compressed(graph, "prune:0.5,pattern=2:4").graph;
  for (const std::string& name : toy::weight_names()) {
    const Tensor& integers = *two.find_initializer(name + ".quantised");
    const auto values = integers.values<int8_t>();
    const auto again = three.find_initializer(name + ".quantised")->values<int8_t>();
    const auto floats = pruned.find_initializer(name)->values<float>();
    for (size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(values[i], again[i]) << name << " " << i;
      if (floats[i] == 0) {
        EXPECT_EQ(values[i], 0) << name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace pare
