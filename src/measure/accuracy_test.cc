// Answers, ranks and comparisons against what was worked out by hand.
#include "measure/accuracy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "measure/model_images.h"
#include "measure/paired.h"
#include "measure/subject.h"
#include "measure/toy.h"

namespace pare {
namespace {

using measure_toy::images;
using measure_toy::many_images;
using measure_toy::pixel_model;
using measure_toy::session_of;
using testing::ElementsAre;
using testing::HasSubstr;

// As `pare run` prepares pictures: straight to the size, unless the contract speaks of a crop.
TEST(ModelImages, FollowTheContractOrTheInput) {
  Graph graph = pixel_model();
  graph.inputs[0].shape = {kDynamic, 3, 2, 2};
  graph.initializers["w"] = Tensor(DType::kFloat32, {12, 6});
  for (const int64_t stated : {0, 2}) {
    graph.contract.height = graph.contract.width = stated;
    const auto straight = dataset_options_for(graph);
    ASSERT_TRUE(straight.ok()) << straight.status().message();
    EXPECT_EQ(straight->image_size, 2);
    EXPECT_TRUE(straight->stretch);
  }
  graph.contract.resize = 3;
  const auto cropped = dataset_options_for(graph);
  ASSERT_TRUE(cropped.ok()) << cropped.status().message();
  EXPECT_EQ(cropped->resize, 3);
  EXPECT_FALSE(cropped->stretch);
  EXPECT_FALSE(dataset_options_for(pixel_model()).ok()) << "sides of 1 and 2";
}

TEST(Accuracy, RanksPutTheLowerClassFirstAmongEquals) {
  const std::vector<float> scores = {1, 3, 3, 0, 3, -1};
  EXPECT_EQ(best_class(scores), 1);
  EXPECT_EQ(rank_of(scores, 1), 0);
  EXPECT_EQ(rank_of(scores, 2), 1);
  EXPECT_EQ(rank_of(scores, 4), 2);
  EXPECT_EQ(rank_of(scores, 0), 3);
  EXPECT_EQ(rank_of(scores, 5), 5);
}

TEST(Accuracy, TopOneAndTopFiveByHand) {
  const auto data = images({9, 1, 2, 3, 4, 5,   // label 0: first
                            9, 8, 7, 6, 5, 4,   // label 4: fifth
                            9, 8, 7, 6, 5, 4,   // label 5: sixth
                            7, 7, 7, 7, 7, 7,   // label 0: first of six equal ones
                            7, 7, 7, 7, 7, 7},  // label 5: last of six equal ones
                           {0, 4, 5, 0, 5});
  Session session = session_of(pixel_model());
  const auto e = evaluate(session, *data);
  ASSERT_TRUE(e.ok()) << e.status().message();
  EXPECT_THAT(e->labels, ElementsAre(0, 4, 5, 0, 5));
  EXPECT_THAT(e->predicted, ElementsAre(0, 0, 0, 0, 0));
  EXPECT_THAT(e->in_top5, ElementsAre(true, true, false, true, false));

  const AccuracyRecord r = accuracy_record(*e, *data, {.id = {.model = "toy"}, .precision = "f"});
  EXPECT_EQ(r.images, 5);
  EXPECT_DOUBLE_EQ(r.top1, 40.0);
  EXPECT_DOUBLE_EQ(r.top5, 60.0);
  // Wilson's interval of 2 of 5, by hand from its formula.
  EXPECT_NEAR(r.top1_low, 11.76, 0.01);
  EXPECT_NEAR(r.top1_high, 76.93, 0.01);
  EXPECT_THAT(r.class_images, ElementsAre(2, 0, 0, 0, 1, 2));
  EXPECT_THAT(r.class_correct, ElementsAre(2, 0, 0, 0, 0, 0));
  EXPECT_EQ(r.data, "toys");
  EXPECT_EQ(r.data_hash, data->hash());
}

TEST(Accuracy, TheSameForEveryBatchSizeAndCount) {
  const auto data = many_images(301);
  Session session = session_of(pixel_model());
  int64_t last = 0;
  const auto whole = evaluate(session, *data);
  ASSERT_TRUE(whole.ok()) << whole.status().message();
  for (const int64_t batch : {1, 7, 64, 301, 1000}) {
    const auto e = evaluate(session, *data,
                            {.batch_size = batch, .progress = [&](int64_t done, int64_t total) {
                               EXPECT_EQ(total, 301);
                               last = done;
                             }});
    ASSERT_TRUE(e.ok()) << e.status().message();
    EXPECT_EQ(e->predicted, whole->predicted) << batch;
    EXPECT_EQ(e->in_top5, whole->in_top5) << batch;
    EXPECT_EQ(last, 301);
  }
  // The answer of each image, from its own pixels.
  std::vector<uint8_t> pixels(6);
  for (int64_t i = 0; i < data->size(); ++i) {
    ASSERT_TRUE(data->read_image(i, pixels).ok());
    const auto best = std::max_element(pixels.begin(), pixels.end()) - pixels.begin();
    ASSERT_EQ(whole->predicted[static_cast<size_t>(i)], best) << i;
  }
}

TEST(Accuracy, IntegerModelsAnswerTheSameInEveryBatch) {
  std::vector<int8_t> weights(36);
  for (size_t i = 0; i < 36; ++i) weights[i] = static_cast<int8_t>(37 * i * i % 255);
  const auto data = many_images(130);
  Session session = session_of(measure_toy::int8_model(weights));
  bool integer_kernel = false;
  const auto plan = session.plan(64);
  ASSERT_TRUE(plan.ok()) << plan.status().message();
  for (const LayerPlan& layer : *plan) {
    integer_kernel |= layer.kernel.find("u8s8") != std::string::npos ||
                      layer.kernel.find("reference") != std::string::npos;
  }
  EXPECT_TRUE(integer_kernel);
  std::vector<int64_t> expected;
  std::vector<uint8_t> pixels(6);
  for (int64_t i = 0; i < data->size(); ++i) {
    ASSERT_TRUE(data->read_image(i, pixels).ok());
    std::vector<int> sums(6);
    for (size_t c = 0; c < 6; ++c) {
      for (size_t p = 0; p < 6; ++p) sums[c] += weights[6 * c + p] * pixels[p];
    }
    expected.push_back(std::max_element(sums.begin(), sums.end()) - sums.begin());
  }
  for (const int64_t batch : {1, 3, 64, 130}) {
    const auto e = evaluate(session, *data, {.batch_size = batch});
    ASSERT_TRUE(e.ok()) << e.status().message();
    EXPECT_EQ(e->predicted, expected) << batch;
  }
}

TEST(Accuracy, APartOfASetIsNamedAsSuch) {
  const auto data = many_images(20);
  Session session = session_of(pixel_model());
  const auto e = evaluate(session, *data, {.images = 7});
  ASSERT_TRUE(e.ok()) << e.status().message();
  const PredictionsRecord r = predictions_record(*e, *data, {.id = {.model = "toy"}});
  EXPECT_EQ(r.predicted.size(), 7U);
  EXPECT_EQ(r.data, "the first 7 of toys");
  EXPECT_NE(r.data_hash, data->hash());
  const auto beyond = evaluate(session, *data, {.images = 21});
  EXPECT_EQ(beyond.status().code(), StatusCode::kInvalidArgument);
}

TEST(Accuracy, WhatDoesNotFitIsNamedOnBothSides) {
  Session session = session_of(pixel_model());
  const auto ten = MemoryDataset::create({3, 1, 2}, std::vector<uint8_t>(6), {0},
                                         {"a", "b", "c", "d", "e", "f", "g"}, "seven");
  EXPECT_THAT(evaluate(session, **ten).status().message(),
              testing::AllOf(HasSubstr("6 classes"), HasSubstr("7 (seven)")));
  const auto wide = MemoryDataset::create({3, 2, 2}, std::vector<uint8_t>(12), {0},
                                          {"a", "b", "c", "d", "e", "f"}, "wide");
  EXPECT_THAT(evaluate(session, **wide).status().message(),
              testing::AllOf(HasSubstr("3x1x2"), HasSubstr("3x2x2")));

  Graph named = pixel_model();
  named.contract.classes = {"a", "c", "b", "d", "e", "f"};
  Session other = session_of(named);
  EXPECT_THAT(evaluate(other, *many_images(3)).status().message(),
              HasSubstr("class 1 is 'c' in the model and 'b' in the data"));
}

TEST(Accuracy, NotANumberNamesTheImage) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  Session session = session_of(pixel_model({1, 1, kInfinity, 1, 1, 1}));
  // Infinity times a pixel of 0 is NaN; every row of the product meets the infinite weight.
  const auto e = evaluate(session, *images({1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1}, {0, 0}));
  ASSERT_FALSE(e.ok());
  EXPECT_EQ(e.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(e.status().message(), HasSubstr("image 1: the score of class 2"));
}

Evaluation answers(std::vector<int64_t> labels, std::vector<int64_t> predicted) {
  Evaluation e;
  e.labels = std::move(labels);
  e.predicted = std::move(predicted);
  e.in_top5.assign(e.labels.size(), true);
  return e;
}

TEST(Paired, CountsByHand) {
  //                           both  first first first second flip, both wrong  neither
  const Evaluation a = answers({0, 0, 0, 1, 1, 2, 2}, {0, 0, 0, 1, 0, 0, 1});
  const Evaluation b = answers({0, 0, 0, 1, 1, 2, 2}, {0, 1, 1, 2, 1, 1, 1});
  const auto c = compare_paired(a, b, 3);
  ASSERT_TRUE(c.ok()) << c.status().message();
  EXPECT_EQ(c->images, 7);
  EXPECT_EQ(c->both, 1);
  EXPECT_EQ(c->only_first, 3);
  EXPECT_EQ(c->only_second, 1);
  EXPECT_EQ(c->neither, 2);
  EXPECT_EQ(c->flips, 5);
  EXPECT_DOUBLE_EQ(c->flips_percent, 100.0 * 5 / 7);
  // Binomial(4, 1/2): P(at most 1) = 5/16, twice.
  EXPECT_DOUBLE_EQ(c->mcnemar_p, 0.625);
  EXPECT_DOUBLE_EQ(c->difference, -100.0 * 2 / 7);
  EXPECT_LT(c->difference_low, c->difference);
  EXPECT_GT(c->difference_high, c->difference);
  EXPECT_EQ(c->worst_class, 0);
  EXPECT_DOUBLE_EQ(c->worst_loss, 100.0 * 2 / 3);

  AccuracyRecord r;
  add_comparison(*c, "first", r);
  EXPECT_EQ(r.against, "first");
  EXPECT_DOUBLE_EQ(*r.flips, c->flips_percent);
  EXPECT_DOUBLE_EQ(*r.mcnemar_p, 0.625);
}

TEST(Paired, TheSameModelChangesNothing) {
  const Evaluation a = answers({0, 1, 2}, {0, 2, 2});
  const auto c = compare_paired(a, a, 3);
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->flips, 0);
  EXPECT_DOUBLE_EQ(c->mcnemar_p, 1.0);
  EXPECT_DOUBLE_EQ(c->worst_loss, 0.0);
}

TEST(Paired, OtherImagesAreRefused) {
  EXPECT_FALSE(compare_paired(answers({0, 1}, {0, 0}), answers({0, 0}, {0, 0}), 2).ok());
  EXPECT_FALSE(compare_paired(answers({0, 1}, {0, 0}), answers({0}, {0}), 2).ok());
  EXPECT_FALSE(compare_paired(answers({0, 2}, {0, 0}), answers({0, 2}, {0, 0}), 2).ok());
}

TEST(Subject, PrecisionIsThatOfMostWeights) {
  Graph g = pixel_model();
  EXPECT_EQ(precision_of(g), "float32");
  EXPECT_EQ(precision_of(g, "bfloat16"), "bfloat16");
  g.initializers["w8"] = Tensor(DType::kInt8, {6, 6});
  g.initializers["s"] = Tensor::scalar<float>(0.1F);
  g.nodes[2].inputs[1] = "wf";
  g.nodes.insert(g.nodes.begin() + 2,
                 Node{"DequantizeLinear", "", "weights", {"w8", "s"}, {"wf"}, {}});
  g.initializers.erase("w");
  EXPECT_EQ(precision_of(g), "int8");
  EXPECT_EQ(precision_of(g, "bfloat16"), "int8");
}

}  // namespace
}  // namespace pare
