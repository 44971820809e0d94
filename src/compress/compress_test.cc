// Whole recipes: what they leave in the files, that they combine, and what is refused.
#include "compress/compress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "pare/session.h"

#include "base/file.h"
#include "compress/toy.h"
#include "compress/trial.h"
#include "graph/model_file.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using testing_files::TemporaryFolder;
using toy::logits;
using toy::snr_db;

Graph compressed(const std::string& recipe, const CompressContext& context = toy::context(),
                 const Graph& graph = toy::net()) {
  auto result = compress(graph, *parse_recipe(recipe), context);
  EXPECT_TRUE(result.ok()) << recipe << ": " << result.status().message();
  return result.ok() ? std::move(result->graph) : Graph();
}

Status refusal(const Graph& graph, const std::string& recipe,
               const CompressContext& context = toy::context()) {
  const auto result = compress(graph, *parse_recipe(recipe), context);
  EXPECT_FALSE(result.ok()) << recipe;
  return result.status();
}

std::string file_of(const Graph& graph, const std::string& ending) {
  const TemporaryFolder folder;
  const std::string path = folder.path("model" + ending);
  const Status saved = save_model(graph, path);
  EXPECT_TRUE(saved.ok()) << saved.message();
  return *hash_file(path);
}

TEST(Compress, MetadataAndContractStay) {
  Graph graph = toy::net();
  graph.metadata["training"] = "by hand";
  graph.contract.resize = 9;
  const Graph pruned = compressed("prune:0.5,share=uniform", {}, graph);
  EXPECT_EQ(pruned.metadata.at("training"), "by hand");
  EXPECT_EQ(pruned.metadata.at("compression"), "prune:0.5,share=uniform");
  EXPECT_EQ(pruned.contract, graph.contract);
  // Both times a model went through stand in it, and in its file.
  const Graph twice = compressed("int8,range=mse", toy::context(), pruned);
  EXPECT_EQ(twice.metadata.at("compression"), "prune:0.5,share=uniform+int8,range=mse");
  EXPECT_THAT(twice.metadata.at("compression images"), HasSubstr("toy images"));
  const TemporaryFolder folder;
  for (const char* name : {"twice.onnx", "twice.pare"}) {
    ASSERT_TRUE(save_model(twice, folder.path(name)).ok());
    const Graph read = *load_model(folder.path(name));
    EXPECT_EQ(read.metadata, twice.metadata) << name;
    EXPECT_EQ(read.contract, graph.contract) << name;
  }
}

TEST(Compress, OnnxFileHoldsRealIntegers) {
  const TemporaryFolder folder;
  ASSERT_TRUE(save_model(toy::net(), folder.path("float.onnx")).ok());
  ASSERT_TRUE(save_model(compressed("int8"), folder.path("int8.onnx")).ok());
  const Graph read = *load_model(folder.path("int8.onnx"));
  int64_t integers = 0;
  for (const auto& [name, tensor] : read.initializers) {
    if (tensor.type() == DType::kInt8 && tensor.rank() >= 2) integers += tensor.size();
    EXPECT_FALSE(tensor.type() == DType::kFloat32 && tensor.rank() >= 2) << name;
  }
  constexpr int64_t kAll = 8 * 27 + 16 * 72 + 32 * 144 + 32 * 4;
  EXPECT_EQ(integers, kAll);
  // A byte each instead of four; what else there is does not grow much.
  const int64_t before = *file_size(folder.path("float.onnx"));
  const int64_t after = *file_size(folder.path("int8.onnx"));
  EXPECT_LT(after, before - 3 * kAll + 6000);
}

TEST(Compress, PrunedWeightsAreZeroIntegers) {
  const std::string prune = "prune:0.6,share=uniform";
  const Graph floats = compressed(prune, {});
  const Graph integers = compressed(prune + "+int8");
  int64_t zeros = 0;
  for (const char* name : {"conv1.weight", "conv2.weight", "fc1.weight", "fc2.weight"}) {
    const auto was = to_float_vector(*floats.find_initializer(name));
    const Tensor* is = integers.find_initializer(std::string(name) + ".quantised");
    ASSERT_NE(is, nullptr) << name;
    for (size_t i = 0; i < was.size(); ++i) {
      if (was[i] != 0) continue;
      EXPECT_EQ(is->values<int8_t>()[i], 0) << name << ", " << i;
      ++zeros;
    }
  }
  EXPECT_EQ(zeros, std::llround(0.6 * 8 * 27) + std::llround(0.6 * 16 * 72) +
                       std::llround(0.6 * 32 * 144) + std::llround(0.6 * 32 * 4));
}

// Every combination runs, answers like the float model that the first steps make, and is read back
// from both formats bit by bit.
TEST(Compress, MethodsCombine) {
  const std::pair<std::string, std::string> recipes[] = {
      {"prune:0.3", "+int8"},
      {"prune:0.3", "+int8-dynamic"},
      {"prune:0.3", "+fp16"},
      {"prune:0.3", "+bf16"},
      {"prune:0.3", "+int8,skip=fc1+fp16"},
      {"prune:0.3", "+int8,skip=conv2+bf16"},
      {"prune:0.3", "+int8-dynamic+fp16"},
      {"prune:0.2,share=uniform+prune:0.3", "+int8,range=mse"},
      {"prune:0.3+round", "+int8"},
  };
  for (const auto& [floats, stored] : recipes) {
    const std::vector<float> pruned = logits(compressed(floats));
    const std::string recipe = floats + stored;
    const Graph graph = compressed(recipe);
    ASSERT_TRUE(check_graph(graph).ok()) << recipe;
    EXPECT_GT(snr_db(pruned, logits(graph)), 20) << recipe;
    const TemporaryFolder folder;
    ASSERT_TRUE(save_model(graph, folder.path("a.onnx")).ok());
    ASSERT_TRUE(save_model(graph, folder.path("a.pare")).ok());
    const Graph onnx = *load_model(folder.path("a.onnx"));
    EXPECT_EQ(logits(onnx), logits(graph)) << recipe;
    EXPECT_EQ(logits(*load_model(folder.path("a.pare"))), logits(graph)) << recipe;
    EXPECT_EQ(file_of(*load_model(folder.path("a.pare")), ".onnx"), file_of(onnx, ".onnx"))
        << recipe;
    const auto session = Session::load(folder.path("a.pare"), {.threads = 1});
    EXPECT_TRUE(session.ok()) << recipe << ": " << session.status().message();
  }
}

// A second round finds float32 weights where the first one left 16 bits.
TEST(Compress, HalfPrecisionModelsCanBeCompressedAgain) {
  const Graph half = compressed("fp16", {});
  EXPECT_GT(snr_db(logits(toy::net()), logits(compressed("int8", toy::context(), half))), 25);
}

TEST(Compress, SameBytesForAnyNumberOfThreads) {
  for (const char* recipe : {"prune:0.5+int8", "int8,range=entropy", "int8-dynamic", "fp16"}) {
    std::vector<std::string> files;
    for (const int threads : {1, 2, 3}) {
      CompressContext context = toy::context();
      context.threads = threads;
      files.push_back(file_of(compressed(recipe, context), ".onnx"));
    }
    EXPECT_EQ(files[0], files[1]) << recipe;
    EXPECT_EQ(files[0], files[2]) << recipe;
  }
}

TEST(Compress, SeedChoosesTheImages) {
  CompressContext context = toy::context();
  context.calibration_images = 16;
  const std::string first = file_of(compressed("int8", context), ".onnx");
  EXPECT_EQ(file_of(compressed("int8", context), ".onnx"), first);
  context.seed = 1;
  EXPECT_NE(file_of(compressed("int8", context), ".onnx"), first);
}

TEST(Compress, MeasuredSensitivitiesAreKept) {
  CompressContext context = toy::context();
  context.damage_cache = std::make_shared<std::map<std::string, std::vector<DamageCurve>>>();
  int said = 0;
  context.progress = [&said](const std::string& line) {
    said += line.starts_with("sensitivity") ? 1 : 0;
  };
  const std::string first = file_of(compressed("prune:0.5", context), ".onnx");
  EXPECT_EQ(said, 4);
  compressed("prune:0.7", context);
  EXPECT_EQ(said, 4);
  EXPECT_EQ(file_of(compressed("prune:0.5", context), ".onnx"), first);
  compressed("prune:0.5", context, toy::net(2));
  EXPECT_EQ(said, 8);
  // The same weights and names, set or wired otherwise.
  Graph other = toy::net();
  const auto pool = std::ranges::find(other.nodes, "MaxPool", &Node::op);
  ASSERT_NE(pool, other.nodes.end());
  pool->attributes["ceil_mode"] = int64_t{1};
  compressed("prune:0.5", context, other);
  EXPECT_EQ(said, 12);
  const auto sum = std::ranges::find(other.nodes, "Add", &Node::op);
  ASSERT_NE(sum, other.nodes.end());
  std::swap(sum->inputs[0], sum->inputs[1]);
  compressed("prune:0.5", context, other);
  EXPECT_EQ(said, 16);
  // The same graph, read by other rules or fed otherwise.
  ++other.opset;
  compressed("prune:0.5", context, other);
  EXPECT_EQ(said, 20);
  other.contract.bgr = true;
  compressed("prune:0.5", context, other);
  EXPECT_EQ(said, 24);
}

TEST(Compress, AStopEndsItBetweenLayers) {
  CompressContext context = toy::context();
  std::atomic<bool> stop = false;
  int said = 0;
  context.stop = &stop;
  context.progress = [&](const std::string&) { stop = ++said == 5; };
  EXPECT_EQ(refusal(toy::net(), "prune:0.5", context).code(), StatusCode::kCancelled);
  EXPECT_LT(said, 15);  // of 24 that the whole pruning says
}

TEST(Compress, RefusesWhatCannotBe) {
  const Graph graph = toy::net();
  CompressContext none;
  Status status = refusal(graph, "int8", none);
  EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("'int8' looks at training images, and there are none"));
  status = refusal(graph, "prune:0.5+finetune:1");
  EXPECT_EQ(status.code(), StatusCode::kUnsupported);
  EXPECT_THAT(status.message(), HasSubstr("'finetune:1' needs the trainer"));
  for (const char* first : {"int8", "int8-dynamic"}) {
    status = refusal(compressed(first), "prune:0.5");
    EXPECT_EQ(status.code(), StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("quantised already"));
  }
  CompressContext no_images = toy::context();
  no_images.calibration_images = 0;
  EXPECT_THAT(refusal(graph, "int8", no_images).message(), HasSubstr("0 calibration images"));
}

TEST(Compress, RefusesBrokenAndEmptyModels) {
  Graph broken = toy::net();
  broken.initializers["fc1.weight"].mutable_values<float>()[3] =
      std::numeric_limits<float>::quiet_NaN();
  const Status status = refusal(broken, "int8");
  EXPECT_EQ(status.code(), StatusCode::kNumeric);
  EXPECT_THAT(status.message(), HasSubstr("weight 'fc1.weight' (32x144): element 3 is nan"));

  Graph empty = toy::net();  // an image's values, flattened: nothing to train or prune
  empty.nodes.erase(empty.nodes.begin() + 3, empty.nodes.end());
  Node flatten;
  flatten.op = "Flatten";
  flatten.name = "logits";
  flatten.inputs = {"normalised"};
  flatten.outputs = {"logits"};
  empty.nodes.push_back(flatten);
  empty.outputs[0].shape = {kDynamic, 192};
  for (const char* recipe : {"int8", "prune:0.5", "int8-dynamic"}) {
    const Status refused = refusal(empty, recipe);
    EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument) << recipe;
    EXPECT_THAT(refused.message(), HasSubstr("the model has no float32")) << recipe;
  }
  const auto half = compress(empty, *parse_recipe("fp16"), {});
  ASSERT_TRUE(half.ok()) << half.status().message();
  EXPECT_THAT(half->steps[0].warnings, Contains(HasSubstr("no float32 weights")));
}

TEST(Trial, IsTheRecipeWithoutWhatTakesTime) {
  const auto trial = trial_of(*parse_recipe("prune:0.6+finetune:3+int8"));
  ASSERT_TRUE(trial.has_value());
  EXPECT_EQ(recipe_string(trial->recipe), "prune:0.6,share=uniform+int8");
  EXPECT_EQ(trial->than, "every layer pruned alike, without finetune, 8 calibration images");
  EXPECT_EQ(trial_of(*parse_recipe("fp16"))->than, "");
  EXPECT_FALSE(trial_of(*parse_recipe("finetune:3")).has_value());
  const auto unlike = trial_of(*parse_recipe(
      "shrink:0.5,importance=taylor+prune:0.5,score=taylor,share=uniform+share:4+rewind"));
  EXPECT_EQ(recipe_string(unlike->recipe), "shrink:0.5+prune:0.5,share=uniform");
  EXPECT_EQ(unlike->than, "by variance, 8 calibration images, by magnitude");
}

TEST(Trial, MakesTheSameLayers) {
  const CompressContext context = toy::context();
  const auto trial = run_trial(toy::net(), *trial_of(*parse_recipe("prune:0.6+int8")), context);
  ASSERT_TRUE(trial.ok()) << trial.status().message();
  const Graph whole = compressed("prune:0.6,share=uniform+int8", context);
  ASSERT_EQ(trial->nodes.size(), whole.nodes.size());
  for (size_t i = 0; i < whole.nodes.size(); ++i) EXPECT_EQ(trial->nodes[i].op, whole.nodes[i].op);
  const auto failed =
      run_trial(toy::net(), *trial_of(*parse_recipe("int8,skip=conv9")), toy::context());
  EXPECT_THAT(failed.status().message(), HasSubstr("step 'int8,skip=conv9'"));
  const auto pruned =
      run_trial(toy::net(), *trial_of(*parse_recipe("prune:0.5,skip=conv9")), toy::context());
  EXPECT_THAT(pruned.status().message(), HasSubstr("step 'prune:0.5,skip=conv9'"));
}

}  // namespace
}  // namespace pare
