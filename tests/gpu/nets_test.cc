// Whole nets on the GPU against the same nets on the processor, in every type; the same bits from
// run to run; errors that a session survives.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "compress/compress.h"
#include "compress/recipe.h"
#include "gpu/cuda/session.h"
#include "models/models.h"
#include "runtime/planner.h"
#include "tests/gpu/on_gpu.h"

namespace pare::gpu::cuda {
namespace {

struct Net {
  Graph graph;
  int64_t image = 0;
  int64_t classes = 0;
};

Result<Net> build(const std::string& name) {
  Net net;
  PARE_ASSIGN_OR_RETURN(net.graph, build_model(name, {}));
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(net.graph, 1));
  net.image = element_count(infos.at(net.graph.inputs[0].name).shape);
  net.classes = infos.at(net.graph.outputs[0].name).shape[1];
  return net;
}

Result<std::unique_ptr<CudaSession>> open(const Net& net, const std::string& precision) {
  PARE_ASSIGN_OR_RETURN(const ValueInfos infos, infer_shapes(net.graph, 1));
  DeviceRequest request;
  PARE_ASSIGN_OR_RETURN(request.adapter,
                        InputAdapter::create(net.graph, infos.at(net.graph.inputs[0].name)));
  PARE_ASSIGN_OR_RETURN(request.graph, prepare_graph(net.graph));
  request.class_count = net.classes;
  request.precision = precision;
  return CudaSession::create(std::move(request));
}

std::vector<uint8_t> images(const Net& net, int64_t count) {
  Rng rng(51, RngPurpose::kTest);
  std::vector<uint8_t> pixels(static_cast<size_t>(net.image * count));
  for (uint8_t& p : pixels) p = static_cast<uint8_t>(rng.below(256));
  return pixels;
}

// Random images to measure the ranges of activations on.
class RandomImages final : public Dataset {
 public:
  explicit RandomImages(const Net& net) : pixels_(images(net, kCount)), image_(net.image) {}
  int64_t size() const override { return kCount; }
  ImageShape image_shape() const override { return {3, 32, 32}; }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override {
    std::copy_n(pixels_.begin() + i * image_, image_, dst.begin());
    return ok_status();
  }
  int32_t label(int64_t) const override { return 0; }
  const std::vector<std::string>& classes() const override { return classes_; }
  std::string description() const override { return "random images"; }
  std::string hash() const override { return "random"; }

 private:
  static constexpr int64_t kCount = 16;
  std::vector<uint8_t> pixels_;
  int64_t image_;
  std::vector<std::string> classes_ = {"one"};
};

Result<Net> quantised(const std::string& name) {
  PARE_ASSIGN_OR_RETURN(Net net, build(name));
  PARE_ASSIGN_OR_RETURN(const Recipe recipe, parse_recipe("int8"));
  CompressContext context;
  context.train = std::make_shared<RandomImages>(net);
  context.calibration_images = 8;
  PARE_ASSIGN_OR_RETURN(Compressed smaller, compress(net.graph, recipe, std::move(context)));
  net.graph = std::move(smaller.graph);
  return net;
}

class NetsOnGpu : public testing_gpu::OnGpu {
 protected:
  // Largest difference of scores relative to the largest score.
  void compare(const std::string& name, const std::string& precision, double allowed,
               std::initializer_list<int64_t> batches) {
    compare(name, build(name), precision, allowed, batches);
  }
  void compare(const std::string& name, const Result<Net>& net, const std::string& precision,
               double allowed, std::initializer_list<int64_t> batches) {
    ASSERT_TRUE(net.ok()) << net.status().message();
    auto on_processor = Session::from_graph(net->graph, {.threads = 2});
    ASSERT_TRUE(on_processor.ok());
    auto on_gpu = open(*net, precision);
    ASSERT_TRUE(on_gpu.ok()) << on_gpu.status().message();
    for (const int64_t batch : batches) {
      const std::vector<uint8_t> pixels = images(*net, batch);
      std::vector<float> want(static_cast<size_t>(batch * net->classes));
      std::vector<float> got(want.size());
      std::vector<float> again(want.size());
      ASSERT_TRUE(on_processor->run(pixels, batch, want).ok());
      const Status ran = (*on_gpu)->run(pixels, batch, got);
      ASSERT_TRUE(ran.ok()) << ran.message();
      ASSERT_TRUE((*on_gpu)->run(pixels, batch, again).ok());
      EXPECT_EQ(std::memcmp(got.data(), again.data(), got.size() * sizeof(float)), 0)
          << "another run gives other bits";
      double largest = 0;
      double apart = 0;
      for (size_t i = 0; i < want.size(); ++i) {
        largest = std::max(largest, std::fabs(double{want[i]}));
        const double d = std::fabs(double{want[i]} - double{got[i]});
        apart = std::isnan(d) ? HUGE_VAL : std::max(apart, d);
      }
      EXPECT_LE(apart, allowed * largest) << name << ", " << precision << ", batch " << batch;
    }
  }
};

TEST_F(NetsOnGpu, Float32IsTheProcessors) {
  for (const char* name : {"alexnet", "vit-seed", "resnet18", "vit-s/4"}) {
    compare(name, "float32", 2e-5, {1, 3, 9});
  }
  compare("vit-ti/16", "float32", 2e-5, {1});
}

TEST_F(NetsOnGpu, SixteenBitsAndTf32StayClose) {
  for (const char* name : {"alexnet", "vit-seed", "resnet18", "vit-s/4", "vit-ti/4"}) {
    compare(name, "float16", 1e-2, {1, 3, 40});
    compare(name, "bfloat16", 8e-2, {2, 40});
    compare(name, "tf32", 1e-2, {1, 5});
  }
  compare("vit-ti/16", "float16", 1e-2, {1, 4});
}

// Integers are the processor's to the last bit, and so are alexnet's scores; a transformer's floats
// between them may put a code beside a rounding border.
TEST_F(NetsOnGpu, Int8IsTheProcessors) {
  compare("alexnet int8", quantised("alexnet"), "float32", 0.0, {1, 3, 40, 300});
  compare("vit-seed int8", quantised("vit-seed"), "float32", 0.1, {1, 5, 40});
  compare("vit-seed int8", quantised("vit-seed"), "float16", 0.1, {1, 40});
}

// As many images as fill every processor with the tiles of the largest kernels.
TEST_F(NetsOnGpu, LargeBatches) {
  compare("alexnet", "float16", 1e-2, {300});
  compare("vit-seed", "float16", 1e-2, {600});
  compare("vit-s/4", "float16", 1e-2, {70});
  compare("vit-ti/4", "bfloat16", 8e-2, {70});
}

TEST_F(NetsOnGpu, SeveralSessionsRunAtOnce) {
  auto net = build("vit-seed");
  ASSERT_TRUE(net.ok());
  const std::vector<uint8_t> pixels = images(*net, 4);
  std::vector<std::vector<float>> scores(3);
  std::vector<std::thread> threads;
  for (auto& own : scores) {
    own.resize(static_cast<size_t>(4 * net->classes));
    threads.emplace_back([&] {
      auto session = open(*net, "float16");
      ASSERT_TRUE(session.ok());
      for (int i = 0; i < 20; ++i) ASSERT_TRUE((*session)->run(pixels, 4, own).ok());
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(scores[0], scores[1]);
  EXPECT_EQ(scores[0], scores[2]);
}

TEST_F(NetsOnGpu, OutOfMemorySaysWhatWasAskedAndFree) {
  auto net = build("alexnet");
  ASSERT_TRUE(net.ok());
  auto session = open(*net, "float32");
  ASSERT_TRUE(session.ok());
  std::vector<float> scores(static_cast<size_t>(net->classes));
  ASSERT_TRUE((*session)->run(images(*net, 1), 1, scores).ok());
  {
    // All but half a gigabyte is taken by somebody else.
    size_t free = 0;
    size_t total = 0;
    ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
    auto taken = Memory::create(free - (size_t{512} << 20));
    ASSERT_TRUE(taken.ok()) << taken.status().message();
    auto plan = (*session)->plan(1 << 14);
    ASSERT_FALSE(plan.ok());
    EXPECT_EQ(plan.status().code(), StatusCode::kOutOfMemory) << plan.status().message();
    EXPECT_NE(plan.status().message().find("asked for"), std::string::npos);
  }
  // The session goes on.
  EXPECT_TRUE((*session)->run(images(*net, 1), 1, scores).ok());
  EXPECT_TRUE((*session)->plan(1 << 10).ok());
}

TEST_F(NetsOnGpu, StepsAreNamedAndTimed) {
  auto net = build("alexnet");
  ASSERT_TRUE(net.ok());
  auto session = open(*net, "float16");
  ASSERT_TRUE(session.ok());
  auto plan = (*session)->plan(1);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  EXPECT_EQ(plan->size(), 12U);
  auto times = (*session)->step_times_us(1, 3);
  ASSERT_TRUE(times.ok());
  EXPECT_EQ(times->size(), plan->size());
  auto runs = (*session)->device_times_us(1, 5);
  ASSERT_TRUE(runs.ok());
  for (const double t : *runs) EXPECT_GT(t, 0.0);
  auto info = (*session)->info();
  ASSERT_TRUE(info.ok());
  EXPECT_FALSE(info->name.empty());
}

}  // namespace
}  // namespace pare::gpu::cuda
