#include "measure/drift.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "measure/toy.h"

namespace pare {
namespace {

using measure_toy::images;
using measure_toy::pixel_model;
using ::testing::HasSubstr;

// Five images: more than one batch, and a last one that is not full.
std::shared_ptr<const Dataset> five_images() {
  std::vector<uint8_t> pixels;
  for (int i = 0; i < 30; ++i) pixels.push_back(static_cast<uint8_t>(7 * i + 3));
  return images(pixels, {0, 1, 2, 3, 4});
}

TEST(Drift, TheSameModelDoesNotComeApart) {
  const Graph model = pixel_model();
  const auto points = measure_drift({&model, {}}, {&model, {}}, *five_images(), 5);
  ASSERT_TRUE(points.ok()) << points.status().message();
  ASSERT_EQ(points->size(), 1U);
  EXPECT_EQ(points->front().layer, "scale");
  EXPECT_EQ(points->front().elements, 30);
  EXPECT_EQ(points->front().relative_error, 0);
  EXPECT_EQ(points->front().largest_value, 206);
  EXPECT_EQ(signal_to_noise_db(points->front()), HUGE_VAL);
}

TEST(Drift, ErrorsAreThoseWorkedOutByHand) {
  const Graph model = pixel_model();
  const Graph louder = pixel_model({1.1F, 1.1F, 1.1F, 1.1F, 1.1F, 1.1F});
  const auto points = measure_drift({&model, {}}, {&louder, {}}, *five_images(), 5);
  ASSERT_TRUE(points.ok()) << points.status().message();
  ASSERT_EQ(points->size(), 1U);
  EXPECT_NEAR(points->front().relative_error, 0.1, 1e-6);
  EXPECT_NEAR(signal_to_noise_db(points->front()), 20, 1e-4);
  EXPECT_NEAR(points->front().largest_difference, 20.6, 1e-4);
}

TEST(Drift, OnlySoManyImagesCount) {
  const Graph model = pixel_model();
  const auto points = measure_drift({&model, {}}, {&model, {}}, *five_images(), 2);
  ASSERT_TRUE(points.ok()) << points.status().message();
  EXPECT_EQ(points->front().elements, 12);
  EXPECT_EQ(points->front().largest_value, 80);
}

TEST(Drift, ANanIsAsFarAwayAsCanBe) {
  const Graph model = pixel_model();
  const Graph broken = pixel_model({1, 1, NAN, 1, 1, 1});
  const auto points = measure_drift({&model, {}}, {&broken, {}}, *five_images(), 5);
  ASSERT_TRUE(points.ok()) << points.status().message();
  EXPECT_EQ(points->front().relative_error, HUGE_VAL);
  EXPECT_EQ(points->front().largest_difference, HUGE_VAL);
}

TEST(Drift, WhatDoesNotFitIsRefused) {
  const Graph model = pixel_model();
  Graph other = pixel_model();
  other.nodes.back().name = "another";
  other.nodes.back().outputs[0] = "answers";
  other.outputs[0].name = "answers";
  EXPECT_THAT(measure_drift({&model, {}}, {&other, {}}, *five_images(), 5).status().message(),
              HasSubstr("no layer in common"));
  Graph wide = pixel_model();
  wide.inputs[0].shape = {kDynamic, 3, 2, 1};
  wide.contract.height = 2;
  wide.contract.width = 1;
  EXPECT_THAT(measure_drift({&model, {}}, {&wide, {}}, *five_images(), 5).status().message(),
              HasSubstr("3x1x2 and 3x2x1"));
}

}  // namespace
}  // namespace pare
