// Times are the machine's; what is tested is what they are taken of, and that wrong answers are
// caught before any time is taken.
#include "measure/latency.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/stats.h"
#include "measure/answer_check.h"
#include "measure/rotation.h"
#include "measure/toy.h"

namespace pare {
namespace {

using measure_toy::many_images;
using measure_toy::pixel_model;
using measure_toy::session_of;
using testing::HasSubstr;

TEST(Rotation, EveryImageInTurnRoundAndRound) {
  const auto data = many_images(10);
  auto rotation = Rotation::create(*data, 7, 3);
  ASSERT_TRUE(rotation.ok()) << rotation.status().message();
  EXPECT_EQ(rotation->images(), 7);
  std::vector<uint8_t> expected(6);
  for (int64_t i = 0; i < 21; ++i) {
    const auto pixels = rotation->next();
    ASSERT_EQ(pixels.size(), 18U);
    for (int64_t j = 0; j < 3; ++j) {
      ASSERT_TRUE(data->read_image((3 * i + j) % 7, expected).ok());
      EXPECT_TRUE(std::ranges::equal(pixels.subspan(static_cast<size_t>(6 * j), 6), expected));
    }
  }
}

TEST(Rotation, HoldsWhatABatchNeedsAndNoMoreThanThereIs) {
  const auto data = many_images(10);
  EXPECT_EQ(Rotation::create(*data, 2, 8)->images(), 8);
  auto all = Rotation::create(*data, 256, 24);
  ASSERT_TRUE(all.ok());
  EXPECT_EQ(all->images(), 10);
  EXPECT_EQ(all->next().size(), 24U * 6);
  EXPECT_FALSE(Rotation::create(*data, 1, 0).ok());
  EXPECT_EQ(Rotation::create(*data, 1, int64_t{1} << 40).status().code(), StatusCode::kOutOfMemory);
}

TEST(Latency, ARecordForEachSubject) {
  const auto data = many_images(300);
  Session a = session_of(pixel_model());
  Session b = session_of(pixel_model({2, 2, 2, 2, 2, 2}));
  int64_t rounds = 0;
  const LatencyOptions options = {.batch = 4,
                                  .seconds = 0,
                                  .min_runs = 25,
                                  .keep_samples = true,
                                  .progress = [&](int64_t, int64_t) { ++rounds; }};
  const auto records =
      measure_latency({{.id = {.model = "a"}, .precision = "float32", .session = &a},
                       {.id = {.model = "b"}, .precision = "float32", .session = &b}},
                      *data, options);
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records->size(), 2U);
  EXPECT_GT(rounds, 1);
  const LatencyRecord& r = (*records)[1];
  EXPECT_EQ(r.id.model, "b");
  EXPECT_TRUE(r.check().ok()) << r.check().message();
  EXPECT_GE(r.runs, 25);
  EXPECT_EQ(r.runs, static_cast<int64_t>(r.samples_us.size()));
  EXPECT_EQ(r.images, 256);
  EXPECT_DOUBLE_EQ(r.latency_us_p50, quantile(r.samples_us, 0.5));
  EXPECT_LE(r.latency_us_p50, r.latency_us_p90);
  EXPECT_LE(r.latency_us_p90, r.latency_us_p99);
  EXPECT_DOUBLE_EQ(r.images_per_s, 4e6 / r.latency_us_p50);
  EXPECT_EQ(r.peak_bytes, *r.weights_bytes + *r.arena_bytes + *r.scratch_bytes);
}

TEST(Latency, RefusesWhatCannotBeMeasured) {
  const auto data = many_images(10);
  Session a = session_of(pixel_model());
  const LatencySubject subject = {.id = {.model = "a"}, .session = &a};
  EXPECT_FALSE(measure_latency({subject}, *data, {.batch = 0}).ok());
  EXPECT_FALSE(measure_latency({subject}, *data, {.seconds = -1}).ok());
  const auto wide = MemoryDataset::create({3, 2, 2}, std::vector<uint8_t>(12), {0}, {"a"}, "wide");
  const auto refused = measure_latency({subject}, **wide, {.batch = 1});
  EXPECT_THAT(refused.status().message(), HasSubstr("a: "));
}

TEST(Latency, StepsAreThoseOfThePlan) {
  const auto data = many_images(10);
  Session a = session_of(pixel_model());
  const auto times = measure_steps(a, *data, 2, 0.01);
  ASSERT_TRUE(times.ok()) << times.status().message();
  EXPECT_EQ(times->size(), a.plan(2)->size());
  EXPECT_THAT(*times, testing::Each(testing::Gt(0.0)));
  EXPECT_TRUE(a.step_times_us(2).empty());  // switched off again
}

TEST(AnswerCheck, AgreesWithItself) {
  const auto data = many_images(10);
  const Graph graph = pixel_model();
  Session session = session_of(graph);
  const auto check = check_answers(session, graph, {.threads = 1}, *data, 4);
  ASSERT_TRUE(check.ok()) << check.status().message();
  EXPECT_EQ(check->batch_images, 8);
  EXPECT_EQ(check->reference_images, 8);
  EXPECT_DOUBLE_EQ(check->reference_difference, 0.0);
  // One product of depth 6.
  EXPECT_NEAR(check->allowed, 2 * 6 * 0x1p-23, 1e-8);
  EXPECT_THAT(check->text(), HasSubstr("8 images in batches against one by one"));
  const auto single = check_answers(session, graph, {.threads = 1}, *data, 1);
  ASSERT_TRUE(single.ok());
  EXPECT_EQ(single->batch_images, 0);
}

TEST(AnswerCheck, CatchesASessionThatAnswersOtherwise) {
  const auto data = many_images(10);
  Session session = session_of(pixel_model({1, 1, 1, 1.001F, 1, 1}));
  const auto check = check_answers(session, pixel_model(), {.threads = 1}, *data, 2);
  ASSERT_FALSE(check.ok());
  EXPECT_EQ(check.status().code(), StatusCode::kNumeric);
  EXPECT_THAT(check.status().message(), HasSubstr("class 3"));
}

}  // namespace
}  // namespace pare
