// Whole studies of a toy: a net that tells bright pictures from dark ones.
#include "study/study.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "base/file.h"
#include "data/image.h"
#include "graph/model_file.h"
#include "study/work.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr int64_t kSide = 4;
constexpr size_t kPixels = 3 * kSide * kSide;

// Scores: the sum of all pixels less what a half-bright picture has, and its negative. Weights
// differ so that pruning has a smallest one to find.
Graph brightness_net() {
  Graph g;
  g.name = "brightness";
  g.inputs = {{"image", DType::kUInt8, {kDynamic, 3, kSide, kSide}}};
  g.outputs = {{"scores", DType::kFloat32, {kDynamic, 2}}};
  g.contract.height = kSide;
  g.contract.width = kSide;
  g.contract.classes = {"bright", "dark"};
  g.metadata["trained_on"] = "nothing: made by hand";
  std::vector<float> weights;
  float sum = 0;
  for (size_t i = 0; i < kPixels; ++i) {
    const float w = 1.0F + 0.01F * static_cast<float>(i);
    weights.insert(weights.end(), {w, -w});
    sum += w;
  }
  g.initializers["w"] = Tensor::from_values<float>({kPixels, 2}, weights);
  g.initializers["b"] = Tensor::from_values<float>({2}, {-127.5F * sum, 127.5F * sum});
  g.nodes = {{"Cast", "", "cast", {"image"}, {"x"}, {{"to", int64_t{1}}}},
             {"Flatten", "", "flatten", {"x"}, {"flat"}, {}},
             {"Gemm", "", "sum", {"flat", "w", "b"}, {"scores"}, {}}};
  return g;
}

void write_picture(const std::string& path, int brightness) {
  Image image{kSide, kSide, {}};
  for (size_t i = 0; i < kPixels; ++i) {
    image.pixels.push_back(static_cast<uint8_t>(brightness + static_cast<int>(i % 3)));
  }
  const auto png = encode_png(image);
  ASSERT_TRUE(png.ok());
  ASSERT_TRUE(write_file(path, *png).ok());
}

class FakeTrainer : public StudyTrainer {
 public:
  Result<TrainingOutline> outline(const TrainingRequest& request) override {
    return TrainingOutline{"brightness", request.recipe + settings(request), "pictures"};
  }
  Status train(const TrainingRequest& request, const std::string& folder,
               const std::function<void(const std::string&)>& progress) override {
    ++trained;
    resumed = file_exists(folder + "/checkpoint");
    PARE_RETURN_IF_ERROR(make_directories(folder));
    PARE_RETURN_IF_ERROR(write_file(folder + "/checkpoint", "half of it"));
    if (killed) return cancelled("stopped");
    progress("epoch 1");
    EpochRecord epoch;
    epoch.run = folder;
    epoch.net = "brightness";
    epoch.data = "pictures";
    epoch.epoch = 1;
    epoch.epochs = 1;
    epoch.train_loss = 0.5;
    epoch.learning_rate = 0.1;
    epoch.images = 8;
    epoch.seconds = 1;
    PARE_RETURN_IF_ERROR(append(folder + "/records.jsonl", epoch, current_context()));
    Graph graph = brightness_net();
    graph.metadata["trained_on"] = "eight pictures";
    graph.metadata["settings"] = settings(request);
    return save_model(graph, folder + "/model.onnx");
  }
  Trainer* finetuner() override { return nullptr; }

  int trained = 0;
  bool resumed = false;
  bool killed = false;

 private:
  static std::string settings(const TrainingRequest& request) {
    std::string text;
    for (const std::string& setting : request.settings) text += " " + setting;
    return text;
  }
};

class Study : public testing::Test {
 protected:
  void SetUp() override {
    for (const char* part : {"train", "val"}) {
      for (const std::string name : {"bright", "dark"}) {
        const std::string folder = data_.path(std::string(part) + "/" + name);
        ASSERT_TRUE(make_directories(folder).ok());
        for (int i = 0; i < 4; ++i) {
          write_picture(folder + "/" + std::to_string(i) + ".png",
                        (name == "bright" ? 140 : 90) + 5 * i);
        }
      }
    }
    ASSERT_TRUE(save_model(brightness_net(), net_path()).ok());
    config_.name = "toy";
    config_.data = data_.path();
    config_.batches = {1, 2};
    config_.seconds = 0.001;
    config_.latency_images = 4;
    config_.calibration_images = 4;
    config_.sensitivity_images = 4;
    StudyNet net;
    net.name = "net";
    net.model = net_path();
    net.variants = {"fp32", "fp16", "prune:0.5,share=uniform"};
    config_.nets = {net};
    options_.folder = folder_.path("out");
    options_.program = "this program";
    options_.threads = 1;
    options_.trainer = &trainer_;
  }
  std::string net_path() const { return folder_.path("net.onnx"); }

  StudyResult run() {
    auto result = run_study(config_, options_);
    EXPECT_TRUE(result.ok()) << result.status().message();
    return result.ok() ? *std::move(result) : StudyResult{};
  }
  static std::vector<std::string> steps_that(const StudyResult& result, const std::string& status) {
    std::vector<std::string> names;
    for (const StepRecord& step : result.steps) {
      if (step.status == status) names.push_back(step.step);
    }
    return names;
  }
  static std::string cause(const StudyResult& result, const std::string& name) {
    for (const StepRecord& step : result.steps) {
      if (step.step == name) return step.status + ": " + step.cause;
    }
    return "there is no such step";
  }
  template <class Fields>
  static std::vector<Fields> all(const StudyResult& result) {
    std::vector<Fields> found;
    for (const Record& record : result.records) {
      if (record.kind != Fields::kKind) continue;
      auto fields = from_record<Fields>(record);
      EXPECT_TRUE(fields.ok());
      if (fields.ok()) found.push_back(*std::move(fields));
    }
    return found;
  }
  StudyNet trained_net() const {
    StudyNet net;
    net.name = "own";
    net.train = "quick";
    net.settings = {"train.epochs=1"};
    net.variants = {"fp32"};
    return net;
  }

  testing_files::TemporaryFolder data_;
  testing_files::TemporaryFolder folder_;
  FakeTrainer trainer_;
  StudyConfig config_;
  StudyOptions options_;
};

TEST_F(Study, MeasuresEveryVariantInEveryWay) {
  const StudyResult result = run();
  EXPECT_EQ(result.failed, 0);
  for (const StepRecord& step : result.steps) EXPECT_EQ(step.status, "ran") << step.cause;
  const auto accuracies = all<AccuracyRecord>(result);
  ASSERT_EQ(accuracies.size(), 3U);
  EXPECT_EQ(accuracies[0].id.model, "net fp32");
  EXPECT_EQ(accuracies[0].id.net, "net");
  EXPECT_EQ(accuracies[0].id.variant, "fp32");
  EXPECT_EQ(accuracies[0].id.trained_on, "nothing: made by hand");
  EXPECT_EQ(accuracies[0].top1, 100.0);  // made so that it is right
  EXPECT_EQ(accuracies[0].images, 8);
  EXPECT_EQ(accuracies[0].precision, "float32");
  EXPECT_EQ(accuracies[1].precision, "float16");
  const auto sizes = all<SizeRecord>(result);
  ASSERT_EQ(sizes.size(), 6U);  // .pare and .onnx of each
  EXPECT_EQ(sizes[0].parameters, 98);
  EXPECT_EQ(sizes[0].nonzero_parameters, 98);
  EXPECT_EQ(sizes[4].id.variant, "prune:0.5,share=uniform");
  EXPECT_EQ(sizes[4].nonzero_parameters, 50);
  const auto latencies = all<LatencyRecord>(result);
  ASSERT_EQ(latencies.size(), 6U);  // each variant at each batch size
  EXPECT_EQ(latencies[0].threads, 1);
  const auto layers = all<LayerRecord>(result);
  std::set<std::string> with_layers;
  for (const LayerRecord& layer : layers) with_layers.insert(layer.id.variant);
  EXPECT_EQ(with_layers.size(), 3U);
  EXPECT_EQ(all<PredictionsRecord>(result).size(), 3U);
}

TEST_F(Study, ASecondRunDoesNothing) {
  const StudyResult first = run();
  const StudyResult second = run();
  EXPECT_THAT(steps_that(second, "ran"), IsEmpty());
  EXPECT_EQ(second.records.size(), first.records.size());
}

TEST_F(Study, ASettingOfTheLatencyTimesAnewAndNoMore) {
  run();
  config_.batches = {1};
  const StudyResult result = run();
  EXPECT_THAT(steps_that(result, "ran"), ElementsAre("net: latency"));
  EXPECT_EQ(cause(result, "net: latency"), "ran: the settings of [latency] changed");
  EXPECT_EQ(all<LatencyRecord>(result).size(), 3U);
}

TEST_F(Study, AnotherVariantIsMadeAndMeasuredAndTimedBesideTheOthers) {
  run();
  config_.nets[0].variants.push_back("bf16");
  EXPECT_THAT(steps_that(run(), "ran"),
              ElementsAre("net bf16: model", "net bf16: accuracy", "net bf16: layers",
                          "net: latency", "net: changed images"));
}

TEST_F(Study, AnotherProgramMeasuresAnew) {
  run();
  options_.program = "another program";
  const StudyResult result = run();
  EXPECT_THAT(steps_that(result, "cached"), IsEmpty());
  EXPECT_EQ(cause(result, "net fp32: accuracy"), "ran: the program changed");
}

TEST_F(Study, OtherImagesAndAnotherNetAreNoticed) {
  run();
  write_picture(data_.path("val/dark/0.png"), 200);  // a bright one among the dark
  StudyResult result = run();
  EXPECT_THAT(steps_that(result, "ran"),
              ElementsAre("net fp32: accuracy", "net fp16: accuracy",
                          "net prune:0.5,share=uniform: accuracy", "net: changed images"));
  EXPECT_EQ(all<AccuracyRecord>(result)[0].top1, 87.5);
  Graph other = brightness_net();
  other.initializers["b"] = Tensor::from_values<float>({2}, {0.0F, 0.0F});
  ASSERT_TRUE(save_model(other, net_path()).ok());
  result = run();
  EXPECT_EQ(cause(result, "net fp32: model"), "ran: the net changed");
  EXPECT_EQ(cause(result, "net fp32: accuracy"), "ran: the model changed");
}

TEST_F(Study, AVariantThatFailsLosesNoOther) {
  config_.nets[0].variants = {"fp32", "prune:0.5,share=uniform,skip=sum", "fp16"};
  const StudyResult result = run();
  EXPECT_EQ(result.failed, 1);
  EXPECT_THAT(cause(result, "net prune:0.5,share=uniform,skip=sum: model"),
              HasSubstr("failed: step 'prune:0.5,share=uniform,skip=sum'"));
  EXPECT_EQ(all<AccuracyRecord>(result).size(), 2U);
  EXPECT_EQ(all<LatencyRecord>(result).size(), 4U);
}

// The report joins images and answers by the hash of the data, also where only some are looked at.
TEST_F(Study, ImagesThatAreShownBelongToTheAnswers) {
  config_.test_images = 6;
  config_.nets[0].variants = {"fp32", "prune:0.9,share=uniform"};
  const StudyResult result = run();
  const auto images = all<ImageRecord>(result);
  const auto answers = all<PredictionsRecord>(result);
  ASSERT_EQ(answers.size(), 2U);
  ASSERT_NE(answers[0].predicted, answers[1].predicted);
  ASSERT_FALSE(images.empty());
  for (const ImageRecord& image : images) EXPECT_EQ(image.data_hash, answers[0].data_hash);
}

TEST_F(Study, ATrainedNetIsKeptThroughChangesOfTheProgram) {
  config_.nets = {trained_net()};
  const StudyResult first = run();
  EXPECT_EQ(first.failed, 0);
  const auto epochs = all<EpochRecord>(first);
  ASSERT_EQ(epochs.size(), 1U);
  EXPECT_EQ(epochs[0].run, "own");
  EXPECT_EQ(all<AccuracyRecord>(first)[0].id.net, "brightness");
  EXPECT_EQ(all<AccuracyRecord>(first)[0].id.trained_on, "eight pictures");
  options_.program = "another program";
  run();
  EXPECT_EQ(trainer_.trained, 1);
  config_.nets[0].settings = {"train.epochs=2"};
  const StudyResult third = run();
  EXPECT_EQ(trainer_.trained, 2);
  EXPECT_EQ(cause(third, "own: training"), "ran: the recipe changed");
  EXPECT_FALSE(trainer_.resumed);
}

TEST_F(Study, AStoppedTrainingGoesOn) {
  config_.nets = {trained_net()};
  trainer_.killed = true;
  EXPECT_EQ(run_study(config_, options_).status().code(), StatusCode::kCancelled);
  trainer_.killed = false;
  EXPECT_EQ(cause(run(), "own: training"), "ran: it was interrupted");
  EXPECT_TRUE(trainer_.resumed);
}

TEST_F(Study, WithoutTrainingItsStepsAreLeftOutAndSaidSo) {
  config_.nets.push_back(trained_net());
  options_.trainer = nullptr;
  const StudyResult result = run();
  EXPECT_EQ(result.failed, 0);
  EXPECT_EQ(cause(result, "own: training"), "left out: built without training");
  EXPECT_EQ(cause(result, "own fp32: model"),
            "left out: it needs 'own: training', which has no result");
  EXPECT_EQ(cause(result, "net: latency"), "ran: no result yet");
}

TEST_F(Study, ADryRunNeedsNoFolderAndMakesNone) {
  options_.dry_run = true;
  const StudyResult result = run();
  EXPECT_EQ(steps_that(result, "to run").size(), result.steps.size());
  EXPECT_FALSE(file_exists(options_.folder));
}

TEST_F(Study, ANetThatIsNotThereIsNamed) {
  config_.nets[0].model = folder_.path("none.onnx");
  EXPECT_THAT(run_study(config_, options_).status().message(), HasSubstr("none.onnx"));
  config_.nets[0].model.clear();
  config_.nets[0].zoo = "no-such-net";
  EXPECT_THAT(run_study(config_, options_).status().message(), HasSubstr("no-such-net"));
}

PredictionsRecord answers(std::vector<int64_t> predicted) {
  PredictionsRecord record;
  record.predicted = std::move(predicted);
  return record;
}

TEST(ChangedImages, AreTakenFromEachVariantInTurn) {
  const auto base = answers({0, 0, 0, 0, 0, 0, 0, 0});
  const auto few = answers({0, 0, 0, 0, 0, 0, 0, 1});
  const auto many = answers({1, 1, 1, 1, 1, 1, 0, 0});
  EXPECT_THAT(choose_changed_images({base, many, few}, 3), ElementsAre(0, 3, 7));
  EXPECT_THAT(choose_changed_images({base, many}, 3), ElementsAre(0, 2, 4));
  EXPECT_THAT(choose_changed_images({base, few}, 3), ElementsAre(7));
  EXPECT_THAT(choose_changed_images({base, base}, 3), IsEmpty());
  EXPECT_THAT(choose_changed_images({base}, 3), IsEmpty());
  EXPECT_THAT(choose_changed_images({}, 3), IsEmpty());
}

TEST(Base64, IsAsTheRfcHasIt) {  // RFC 4648, section 10
  const auto encoded = [](const std::string& text) {
    const auto* bytes = reinterpret_cast<const std::byte*>(text.data());
    return base64({bytes, bytes + text.size()});
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foo"), "Zm9v");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

}  // namespace
}  // namespace pare
