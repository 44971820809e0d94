// Whole training runs of a tiny network.

#include "train/train.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "graph/model_file.h"
#include "train/checkpoint.h"
#include "train/finetune.h"
#include "train/tiny_run.h"

extern char** environ;

namespace pare {
namespace {

using testing::HasSubstr;

std::string fresh_folder(const std::string& name) {
  std::string path = testing::TempDir() + "/pare_run_" + name;
  std::filesystem::remove_all(path);
  return path;
}

TEST(Train, LearnsAndExportsAPlainNetwork) {
  TrainRun run = tiny_run(fresh_folder("learns"));
  std::vector<double> losses;
  run.events.epoch = [&](const EpochReport& e) { losses.push_back(e.train_loss); };
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(losses.size(), 4U);
  EXPECT_LT(losses.back(), losses.front());
  EXPECT_GT(result->top1, 90);  // guessing gives 25
  EXPECT_EQ(result->images, 200);
  for (const Node& node : result->graph.nodes) {
    EXPECT_NE(node.op, "BatchNormalization");
    EXPECT_NE(node.op, "Dropout");
  }
  const auto file = load_model(result->model_path);
  ASSERT_TRUE(file.ok()) << file.status().message();
  EXPECT_EQ(weights_hash(*file), result->weights_hash);
  EXPECT_EQ(file->contract.classes, run.data.train->classes());
  EXPECT_EQ(file->metadata.at("trained_on"), "toy corners");
}

TEST(Train, TheSameSeedGivesTheSameBitsAndAnotherDoesNot) {
  const auto hash_of = [](int64_t seed) {
    TrainRun run = tiny_run("");
    run.recipe.train.epochs = 1;
    run.recipe.train.seed = seed;
    return train(run).value().weights_hash;
  };
  const std::string first = hash_of(1);
  EXPECT_EQ(hash_of(1), first);
  EXPECT_NE(hash_of(2), first);
}

// Stops the run after `steps` steps, as Ctrl-C does.
Result<TrainResult> train_and_stop(TrainRun run, int64_t steps) {
  std::atomic<bool> stop = false;
  run.stop = &stop;
  run.events.step = [&](const StepReport& s) {
    if (s.step >= steps) stop = true;
  };
  return train(run);
}

TEST(Train, StoppedAnywhereAndResumedItEndsWithTheSameBits) {
  for (const char* optimiser : {"sgd", "adamw"}) {
    TrainRun whole = tiny_run(fresh_folder("whole"));
    whole.recipe.optimiser.kind = optimiser;
    if (whole.recipe.optimiser.kind == "adamw") whole.recipe.optimiser.lr = 0.005;
    const auto expected = train(whole);
    ASSERT_TRUE(expected.ok()) << expected.status().message();
    TrainRun parts = whole;
    parts.folder = fresh_folder("parts");
    for (int64_t stop_after : {1, 15, 16, 37}) {  // an epoch has 15 steps
      const auto stopped = train_and_stop(parts, stop_after);
      ASSERT_EQ(stopped.status().code(), StatusCode::kCancelled) << stopped.status().message();
      EXPECT_THAT(stopped.status().message(), HasSubstr("--resume --out " + parts.folder));
      parts.resume = true;
    }
    const auto result = train(parts);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result->weights_hash, expected->weights_hash) << optimiser;
    // Every epoch is recorded once.
    const auto records = read_text_file(parts.folder + "/records.jsonl");
    ASSERT_TRUE(records.ok());
    EXPECT_EQ(std::count(records->begin(), records->end(), '\n'), 4);
  }
}

// Starts the program, kills it after `milliseconds` unless it has ended; true when it ended itself.
bool run_and_kill(const std::string& folder, bool resume, int milliseconds, std::string& output) {
  const std::string out_path = folder + ".out";
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                   0600);
  std::string program = PARE_TINY_RUN;
  std::string folder_argument = folder;
  std::string resume_argument = "resume";
  char* arguments[] = {program.data(), folder_argument.data(),
                       resume ? resume_argument.data() : nullptr, nullptr};
  pid_t pid = 0;
  EXPECT_EQ(0, posix_spawn(&pid, program.c_str(), &actions, nullptr, arguments, environ));
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  for (int waited = 0; waited < milliseconds; waited += 5) {
    if (waitpid(pid, &status, WNOHANG) == pid) {
      EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
      output = read_text_file(out_path).value();
      return true;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  kill(pid, SIGKILL);
  waitpid(pid, &status, 0);
  return false;
}

TEST(Train, KilledAgainAndAgainItEndsWithTheSameBits) {
  std::string expected;
  ASSERT_TRUE(run_and_kill(fresh_folder("unbroken"), false, 120000, expected));
  const std::string folder = fresh_folder("killed");
  std::string output;
  int kills = 0;
  // The first kills come soon after the first checkpoint, each later one a little later in the run,
  // so that at some point one catches it at every kind of work and at last none does.
  for (int patience = 20; output.empty(); patience += patience < 400 ? 20 : 400) {
    ASSERT_LT(kills, 200);
    const bool has_checkpoint = file_exists(folder + "/checkpoint.pare-train");
    if (!run_and_kill(folder, has_checkpoint, patience, output)) ++kills;
  }
  EXPECT_GT(kills, 2);
  // Nor is anything left of checkpoints that were being written.
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_FALSE(entry.path().filename().string().starts_with("checkpoint.pare-train."))
        << entry.path();
  }
  EXPECT_EQ(output, expected);
}

TEST(Train, ALossThatIsNotANumberStopsWithTheStep) {
  TrainRun run = tiny_run(fresh_folder("nan"));
  run.recipe.optimiser.lr = 1e3;
  run.recipe.train.clip_norm = 0;
  run.recipe.model.name = "tiny";
  run.graph = tiny_graph();
  run.graph.initializers["dense.weight"].mutable_values<float>()[0] = INFINITY;
  const auto result = train(run);
  ASSERT_EQ(result.status().code(), StatusCode::kNumeric) << result.status().message();
  EXPECT_THAT(result.status().message(), HasSubstr("step 1 (epoch 1, batch 1"));
  EXPECT_THAT(result.status().message(), HasSubstr("last good checkpoint is none"));
}

TEST(Train, AFolderWithARunIsNotOverwritten) {
  TrainRun run = tiny_run(fresh_folder("held"));
  run.recipe.train.epochs = 0.2;
  ASSERT_TRUE(train(run).ok());
  const auto again = train(run);
  EXPECT_EQ(again.status().code(), StatusCode::kInvalidArgument);
  EXPECT_THAT(again.status().message(), HasSubstr("--resume"));
  run.resume = true;
  EXPECT_TRUE(train(run).ok());  // nothing left to do: the result again
  run.recipe.optimiser.lr = 0.3;
  EXPECT_THAT(train(run).status().message(), HasSubstr("lr = 0.05"));
}

TEST(Train, ADamagedCheckpointIsNamed) {
  TrainRun run = tiny_run(fresh_folder("damaged"));
  run.recipe.train.epochs = 0.2;
  ASSERT_TRUE(train(run).ok());
  const std::string path = run.folder + "/checkpoint.pare-train";
  auto bytes = read_file(path, 1 << 24).value();
  bytes[bytes.size() / 2] ^= std::byte{1};
  ASSERT_TRUE(write_file(path, std::span<const std::byte>(bytes)).ok());
  run.resume = true;
  const auto result = train(run);
  EXPECT_EQ(result.status().code(), StatusCode::kCorrupt);
  EXPECT_THAT(result.status().message(), HasSubstr(path));
}

TEST(Train, ATeacherOfAnotherKindIsRefusedAndTheSameKindTeaches) {
  TrainRun run = tiny_run("");
  const Graph teacher = train(run).value().graph;
  run.recipe.train.epochs = 2;
  run.recipe.distil.weight = 1;  // labels play no part
  run.teacher = &teacher;
  run.graph = tiny_graph(/*seed=*/2);
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_GT(result->top1, 85);
  Graph other = teacher;
  other.initializers["dense.weight"] = Tensor(DType::kFloat32, {3, 96});
  other.initializers["dense.bias"] = Tensor(DType::kFloat32, {3});
  run.teacher = &other;
  EXPECT_THAT(train(run).status().message(), HasSubstr("teacher has 3 classes, the model 4"));
}

TEST(Train, AnotherNumberOfClassesGetsAFreshHead) {
  TrainRun run = tiny_run("");
  run.graph.initializers["dense.weight"] = Tensor(DType::kFloat32, {9, 96});
  run.graph.initializers["dense.bias"] = Tensor(DType::kFloat32, {9});
  run.graph.outputs[0].shape = {kDynamic, 9};
  std::string note;
  run.events.note = [&](const std::string& line) { note += line; };
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_THAT(note, HasSubstr("9 classes, the data 4"));
  EXPECT_GT(result->top1, 85);
}

TEST(Train, ClassesThatTheModelKnowsByNameKeepTheirWeights) {
  TrainRun run = tiny_run("");
  const Graph trained = train(run).value().graph;
  // The same network that calls its classes otherwise: one is not the data's.
  Graph other = trained;
  other.contract.classes = {"elsewhere", "sw", "nw", "ne"};
  run.graph = other;
  run.recipe.train.epochs = 0;  // nothing is learned
  std::string note;
  run.events.note = [&](const std::string& line) { note += line + "\n"; };
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_THAT(note, HasSubstr("of the data's 4 classes the model knows 3 by name"));
  const auto before = trained.initializers.at("dense.weight").values<float>();
  const auto after = result->graph.initializers.at("dense.weight").values<float>();
  const auto row = [](std::span<const float> weights, size_t r) {
    const auto part = weights.subspan(96 * r, 96);
    return std::vector<float>(part.begin(), part.end());
  };
  EXPECT_EQ(row(after, 0), row(before, 2));  // nw
  EXPECT_EQ(row(after, 1), row(before, 3));  // ne
  EXPECT_EQ(row(after, 2), row(before, 1));  // sw
  for (size_t r = 0; r < 4; ++r) EXPECT_NE(row(after, 3), row(before, r)) << r;
  for (float w : row(after, 3)) EXPECT_LT(std::fabs(w), 0.1F);  // ten standard deviations
  EXPECT_EQ(result->graph.contract.classes, run.data.train->classes());
}

TEST(Train, AHeadThatIsAConvolutionIsFittedToo) {
  // 1×1 convolution and mean over the image instead of the dense layer, as in SqueezeNet.
  TrainRun run = tiny_run("");
  run.recipe.train.epochs = 6;
  Graph& g = run.graph;
  while (g.nodes.back().op != "MaxPool") g.nodes.pop_back();
  g.initializers["head.weight"] = Tensor(DType::kFloat32, {7, 6, 1, 1});
  g.initializers["head.bias"] = Tensor(DType::kFloat32, {7});
  g.nodes.push_back({"Conv", "", "head", {"pool", "head.weight", "head.bias"}, {"head"}, {}});
  g.nodes.push_back({"GlobalAveragePool", "", "mean", {"head"}, {"mean"}, {}});
  g.nodes.push_back({"Flatten", "", "flat", {"mean"}, {"logits"}, {}});
  g.outputs[0].shape = {kDynamic, 7};
  remove_unused(g);
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result->graph.initializers.at("head.weight").shape(), Shape({4, 6, 1, 1}));
  // Something that is no layer of classes is not guessed at.
  run.graph.nodes.back() = {"Tanh", "", "flat", {"mean"}, {"logits"}, {}};
  EXPECT_THAT(train(run).status().message(), HasSubstr("does not end in a dense layer"));
}

TEST(Train, AFloatModelWithoutAContractIsRefused) {
  TrainRun run = tiny_run("");
  run.graph.contract = {};
  run.graph.inputs[0].type = DType::kFloat32;
  EXPECT_THAT(train(run).status().message(), HasSubstr("pare import"));
}

TEST(Train, EpochsAreValidatedOnImagesThatWereSetAside) {
  TrainRun run = tiny_run(fresh_folder("holdout"));
  run.recipe.data.holdout = 0.25;
  run.recipe.train.epochs = 2;
  std::vector<EpochReport> epochs;
  run.events.epoch = [&](const EpochReport& e) { epochs.push_back(e); };
  const auto result = train(run);
  ASSERT_TRUE(result.ok()) << result.status().message();
  ASSERT_EQ(epochs.size(), 2U);
  EXPECT_EQ(epochs[0].images, 352);  // of 480 - 120 in batches of 16
  EXPECT_EQ(result->images, 200);    // the result: the test images
  EXPECT_THAT(result->graph.metadata.at("trained_on"), HasSubstr("360 of: toy corners"));
  EXPECT_THAT(read_text_file(run.folder + "/log.jsonl").value(),
              HasSubstr("120 held out of: toy corners"));
  // Shares of 120, or of the 30 that are looked at.
  EXPECT_NEAR(std::remainder(*epochs[1].validation_top1, 100.0 / 120), 0, 1e-9);
  run.folder = fresh_folder("thirty");
  run.recipe.data.validation_images = 30;
  epochs.clear();
  ASSERT_TRUE(train(run).ok());
  EXPECT_NEAR(std::remainder(*epochs[1].validation_top1, 100.0 / 30), 0, 1e-9);
}

TEST(Train, StoppedWhileItValidatesItLosesNothing) {
  TrainRun run = tiny_run(fresh_folder("whole_validation"));
  const std::string expected = train(run).value().weights_hash;
  run.folder = fresh_folder("stopped_validation");
  // The last step of the second epoch: the next thing is its validation.
  const auto stopped = train_and_stop(run, 30);
  ASSERT_EQ(stopped.status().code(), StatusCode::kCancelled);
  EXPECT_THAT(stopped.status().message(), HasSubstr("after step 30 of 60, all saved"));
  const auto lines = [&] { return read_text_file(run.folder + "/records.jsonl").value(); };
  const std::string one = lines();
  EXPECT_EQ(std::count(one.begin(), one.end(), '\n'), 1);  // the second is not validated yet
  run.resume = true;
  EXPECT_EQ(train(run).value().weights_hash, expected);
  const std::string all = lines();
  EXPECT_EQ(std::count(all.begin(), all.end(), '\n'), 4);
}

TEST(Finetune, AnotherNumberOfClassesIsAnError) {
  const auto images = tiny_images(48, 11);
  Graph graph = tiny_graph();
  graph.initializers["dense.weight"] = Tensor(DType::kFloat32, {9, 96});
  graph.initializers["dense.bias"] = Tensor(DType::kFloat32, {9});
  graph.outputs[0].shape = {kDynamic, 9};
  const auto result = make_torch_trainer()->finetune(graph, *images, {});
  EXPECT_THAT(result.status().message(), HasSubstr("9 classes, the data 4"));
}

TEST(Finetune, KeepsNamesAndHoldsMasks) {
  TrainRun run = tiny_run("");
  const Graph trained = train(run).value().graph;
  const auto images = tiny_images(480, 11);
  FinetuneOptions options;
  options.epochs = 2;
  options.batch_size = 32;
  options.learning_rate = 0.02;
  options.threads = 1;
  options.teacher = &trained;
  std::vector<double> asked;
  // Half of the dense layer's weights go, from the start.
  Tensor mask(DType::kUInt8, {4, 96});
  for (size_t i = 0; i < 384; i += 2) mask.mutable_values<uint8_t>()[i] = 1;
  options.masks = [&](double progress, const Graph&) -> Result<std::map<std::string, Tensor>> {
    asked.push_back(progress);
    return std::map<std::string, Tensor>{{"dense.weight", mask}};
  };
  const auto result = make_torch_trainer()->finetune(trained, *images, options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(asked.front(), 0.0);
  EXPECT_GT(asked.size(), 1U);
  EXPECT_LT(asked.back(), 1.0);
  ASSERT_EQ(result->nodes.size(), trained.nodes.size());
  ASSERT_EQ(result->initializers.size(), trained.initializers.size());
  const auto weights = result->initializers.at("dense.weight").values<float>();
  for (size_t i = 0; i < 384; ++i) {
    EXPECT_EQ(weights[i] == 0.0F, i % 2 == 1) << i;
  }
  EXPECT_NE(weights_hash(*result), weights_hash(trained));
}

// Every third weight stays zero, the others share two values.
TEST(Finetune, SharedValuesAreTrainedAsOne) {
  Graph graph = tiny_graph();
  Tensor index(DType::kUInt8, {4, 96});
  const auto weights = graph.initializers["dense.weight"].mutable_values<float>();
  for (size_t i = 0; i < 384; ++i) {
    index.mutable_values<uint8_t>()[i] = static_cast<uint8_t>(i % 3);
    weights[i] = i % 3 == 0 ? 0.0F : i % 3 == 1 ? -0.05F : 0.05F;
  }
  const auto images = tiny_images(480, 11);
  FinetuneOptions options;
  options.epochs = 1;
  options.batch_size = 32;
  options.threads = 1;
  options.shared = {{"dense.weight", index}};
  const auto result = make_torch_trainer()->finetune(graph, *images, options);
  ASSERT_TRUE(result.ok()) << result.status().message();
  const auto trained = result->initializers.at("dense.weight").values<float>();
  for (size_t i = 0; i < 384; ++i) EXPECT_EQ(trained[i], i % 3 == 0 ? 0.0F : trained[i % 3]) << i;
  EXPECT_NE(trained[1], -0.05F);
  EXPECT_NE(trained[1], trained[2]);
}

// One step beside one of free weights: each value moves as the mean of its weights does there, but
// for the clipping of gradients, which has less to clip and is the same factor for both.
TEST(Finetune, ASharedValueMovesByTheMeanOfItsGradients) {
  const auto images = tiny_images(32, 11);
  Tensor index(DType::kUInt8, {4, 96});
  for (size_t i = 0; i < 384; ++i)
    index.mutable_values<uint8_t>()[i] = static_cast<uint8_t>(1 + i / 200);
  Graph graph = tiny_graph();
  for (size_t i = 0; i < 384; ++i)
    graph.initializers["dense.weight"].mutable_values<float>()[i] = i < 200 ? -0.02F : 0.03F;
  FinetuneOptions options;
  options.epochs = 1;
  options.batch_size = 32;
  options.threads = 1;
  const auto freely = make_torch_trainer()->finetune(graph, *images, options);
  options.shared = {{"dense.weight", index}};
  const auto shared = make_torch_trainer()->finetune(graph, *images, options);
  ASSERT_TRUE(freely.ok() && shared.ok());
  const auto free_weights = freely->initializers.at("dense.weight").values<float>();
  const auto shared_weights = shared->initializers.at("dense.weight").values<float>();
  const auto moves = [&](size_t from, size_t to) {
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += static_cast<double>(free_weights[i]);
    const double before = from == 0 ? -0.02 : 0.03;
    return std::pair(sum / static_cast<double>(to - from) - before,
                     static_cast<double>(shared_weights[from]) - before);
  };
  const auto [low_free, low] = moves(0, 200);
  const auto [high_free, high] = moves(200, 384);
  EXPECT_GT(std::fabs(low_free), 1e-4);
  EXPECT_GT(low / low_free, 1);
  EXPECT_NEAR(low / low_free, high / high_free, 0.01);
}

TEST(Finetune, SharedValuesOfAnotherShapeAreAnError) {
  const auto images = tiny_images(48, 11);
  FinetuneOptions options;
  options.shared = {{"dense.weight", Tensor(DType::kUInt8, {96, 4})}};
  EXPECT_THAT(make_torch_trainer()->finetune(tiny_graph(), *images, options).status().message(),
              HasSubstr("shared values for 'dense.weight' have shape 96x4, not the weight's"));
  options.shared = {{"dense", Tensor(DType::kUInt8, {4, 96})}};
  EXPECT_THAT(make_torch_trainer()->finetune(tiny_graph(), *images, options).status().message(),
              HasSubstr("shared values for 'dense', which is no trained weight"));
}

}  // namespace
}  // namespace pare
