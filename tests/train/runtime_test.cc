// The two executors of the house agree: LibTorch's, which trains, and our own, which runs.

#include <gtest/gtest.h>

#include <cmath>

#include "base/rng.h"
#include "models/models.h"
#include "runtime/executor.h"
#include "train/executor.h"
#include "train/tensors.h"

namespace pare {
namespace {

Tensor random_images(int64_t count, int64_t size) {
  Tensor images(DType::kUInt8, {count, 3, size, size});
  Rng rng(9, RngPurpose::kTest);
  for (uint8_t& p : images.mutable_values<uint8_t>()) p = static_cast<uint8_t>(rng.next_u32());
  return images;
}

class BothExecutors : public testing::TestWithParam<std::string> {};

TEST_P(BothExecutors, GiveTheSameScores) {
  const auto graph = build_model(GetParam(), {.seed = 3, .training_form = true});
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const Tensor images = random_images(3, graph->contract.height);
  auto torch = TorchExecutor::create(*graph, {.trainable = false});
  ASSERT_TRUE(torch.ok()) << torch.status().message();
  const auto trained = torch->forward(to_torch(images).value(), {});
  ASSERT_TRUE(trained.ok()) << trained.status().message();
  auto ours = Executor::create(*graph, {.batch = 3, .threads = 2});
  ASSERT_TRUE(ours.ok()) << ours.status().message();
  const auto run = ours->run(std::span(&images, 1));
  ASSERT_TRUE(run.ok()) << run.status().message();

  const Tensor expected = from_torch(*trained).value();
  const auto a = expected.values<float>();
  const auto b = run->front().values<float>();
  ASSERT_EQ(a.size(), b.size());
  float largest = 0;
  for (float v : a) largest = std::max(largest, std::fabs(v));
  // Sums of up to 10,000 products in another order, through a few tens of layers.
  for (size_t i = 0; i < a.size(); ++i) EXPECT_NEAR(a[i], b[i], 2e-4F * largest) << i;
}

INSTANTIATE_TEST_SUITE_P(Models, BothExecutors,
                         testing::Values("alexnet", "vit-seed", "vit-ti/4", "resnet18", "wrn-16-8"),
                         [](const auto& about) {
                           std::string name = about.param;
                           for (char& c : name) c = std::isalnum(c) != 0 ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace pare
