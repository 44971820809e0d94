// Training on a GPU. Where there is none, each test says so and is skipped. They come first in
// their program, for LibTorch asks but once whether CUDA is there (device.h).

#include <gtest/gtest.h>

#include <filesystem>

#include "models/models.h"
#include "train/device.h"
#include "train/executor.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

class Gpu : public testing::Test {
 protected:
  void SetUp() override {
    const auto choice = choose_device("auto");
    ASSERT_TRUE(choice.ok()) << choice.status().message();
    if (!choice->cuda) GTEST_SKIP() << choice->why;
  }
};

TEST_F(Gpu, NetworksAnswerAsOnTheCpu) {
  for (const char* name : {"alexnet", "vit-seed", "resnet18"}) {
    const Graph graph = build_model(name, {.seed = 3, .training_form = true}).value();
    const int64_t side = graph.contract.height;
    at::manual_seed(1);
    const at::Tensor images = at::randint(256, {4, 3, side, side}, at::kByte);
    auto cpu = TorchExecutor::create(graph, {.trainable = false}).value();
    auto gpu = TorchExecutor::create(graph, {.device = at::kCUDA, .trainable = false}).value();
    const at::Tensor expected = cpu.forward(images, {}).value();
    const at::Tensor got = gpu.forward(images.to(at::kCUDA), {}).value().to(at::kCPU);
    const double largest = expected.abs().max().item().toDouble();
    EXPECT_LT((expected - got).abs().max().item().toDouble(), 2e-3 * largest) << name;  // TF32
  }
}

TEST_F(Gpu, ARunLearnsAndGoesOnAfterAStop) {
  const std::string folder = testing::TempDir() + "/pare_run_gpu";
  std::filesystem::remove_all(folder);
  TrainRun run = tiny_run(folder);
  run.device = "cuda";
  std::atomic<bool> stop = false;
  run.stop = &stop;
  run.events.step = [&](const StepReport& s) { stop = s.step == 20; };
  EXPECT_EQ(train(run).status().code(), StatusCode::kCancelled);
  run.resume = true;
  run.events.step = nullptr;
  stop = false;
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_GT(result->top1, 90);
}

}  // namespace
}  // namespace pare
