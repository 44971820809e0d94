#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "study/study.h"

namespace pare {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string error_of(const std::string& toml) {
  const auto config = parse_study_config(toml, "mine.toml");
  return config.ok() ? "" : config.status().message();
}

TEST(StudyConfig, EveryKeyIsRead) {
  const auto config = parse_study_config(R"(
name = "n"
data = "d"
test_images = 11
changed_images = 12
variants = ["fp32", "int8"]
[latency]
batches = [2, 3]
seconds = 0.5
images = 13
[compress]
calibration_images = 14
sensitivity_images = 15
seed = 16
[[net]]
zoo = "alexnet"
[[net]]
name = "own"
model = "x/mine.onnx"
trained_on = "photos"
variants = ["prune:0.90"]
[[net]]
train = "vit-seed-quick"
set = ["train.epochs=1"]
)",
                                         "mine.toml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->name, "n");
  EXPECT_EQ(config->data, "d");
  EXPECT_EQ(config->test_images, 11);
  EXPECT_EQ(config->changed_images, 12);
  EXPECT_THAT(config->batches, ElementsAre(2, 3));
  EXPECT_EQ(config->seconds, 0.5);
  EXPECT_EQ(config->latency_images, 13);
  EXPECT_EQ(config->calibration_images, 14);
  EXPECT_EQ(config->sensitivity_images, 15);
  EXPECT_EQ(config->seed, 16U);
  ASSERT_EQ(config->nets.size(), 3U);
  EXPECT_EQ(config->nets[0].zoo, "alexnet");
  EXPECT_EQ(config->nets[0].name, "alexnet");
  EXPECT_THAT(config->nets[0].variants, ElementsAre("fp32", "int8"));
  EXPECT_EQ(config->nets[1].name, "own");
  EXPECT_EQ(config->nets[1].model, "x/mine.onnx");
  EXPECT_EQ(config->nets[1].trained_on, "photos");
  EXPECT_THAT(config->nets[1].variants, ElementsAre("prune:0.9"));  // as recipes are written
  EXPECT_EQ(config->nets[2].name, "vit-seed-quick");
  EXPECT_EQ(config->nets[2].train, "vit-seed-quick");
  EXPECT_THAT(config->nets[2].settings, ElementsAre("train.epochs=1"));
}

TEST(StudyConfig, WhatIsNotGivenHasADefault) {
  const auto config =
      parse_study_config("[[net]]\nmodel='a/b.pare'\nvariants=['fp32']", "x/mine.toml");
  ASSERT_TRUE(config.ok()) << config.status().message();
  EXPECT_EQ(config->name, "mine");
  EXPECT_EQ(config->data, "");
  EXPECT_EQ(config->test_images, 0);
  EXPECT_EQ(config->nets[0].name, "b");
}

// Each key mistyped by one letter: the message names the line, the key, and what was meant.
struct Typo {
  std::string toml;
  int line;
  std::string wrong;
  std::string right;
};
class EveryKey : public testing::TestWithParam<Typo> {};

TEST_P(EveryKey, MistypedIsNamedWithTheNearest) {
  const std::string net = "[[net]]\nzoo='alexnet'\nvariants=['fp32']\n";
  const std::string toml =
      GetParam().toml.starts_with("[[net]]") ? GetParam().toml : GetParam().toml + net;
  EXPECT_THAT(error_of(toml), AllOf(HasSubstr("mine.toml:" + std::to_string(GetParam().line) + ":"),
                                    HasSubstr("'" + GetParam().wrong + "'"),
                                    HasSubstr("nearest is '" + GetParam().right + "'")));
}

const std::string kNet = "[[net]]\nzoo='a'\nvariants=['fp32']\n";
INSTANTIATE_TEST_SUITE_P(
    Keys, EveryKey,
    testing::Values(
        Typo{"nam='x'\n", 1, "nam", "name"}, Typo{"dat='x'\n", 1, "dat", "data"},
        Typo{"test_image=1\n", 1, "test_image", "test_images"},
        Typo{"\nchange_images=1\n", 2, "change_images", "changed_images"},
        Typo{"variant=['fp32']\n", 1, "variant", "variants"},
        Typo{"[latensy]\n", 1, "latensy", "latency"}, Typo{"[compres]\n", 1, "compres", "compress"},
        Typo{"[latency]\nbatch=[1]\n", 2, "batch", "batches"},
        Typo{"[latency]\nsecond=1.0\n", 2, "second", "seconds"},
        Typo{"[latency]\nimage=1\n", 2, "image", "images"},
        Typo{"[compress]\ncalibration_image=1\n", 2, "calibration_image", "calibration_images"},
        Typo{"[compress]\nsensitivity_image=1\n", 2, "sensitivity_image", "sensitivity_images"},
        Typo{"[compress]\nsed=1\n", 2, "sed", "seed"},
        Typo{"[[nett]]\nzoo='a'\n", 1, "nett", "net"}, Typo{kNet + "nane='x'\n", 4, "nane", "name"},
        Typo{kNet + "zo='x'\n", 4, "zo", "zoo"}, Typo{kNet + "models='x'\n", 4, "models", "model"},
        Typo{kNet + "trian='x'\n", 4, "trian", "train"},
        Typo{kNet + "sets=['x']\n", 4, "sets", "set"},
        Typo{kNet + "trainedon='x'\n", 4, "trainedon", "trained_on"},
        Typo{kNet + "varriants=[]\n", 4, "varriants", "variants"}));

struct Wrong {
  std::string toml;
  std::string says;
};
class EveryMistake : public testing::TestWithParam<Wrong> {};

TEST_P(EveryMistake, IsNamed) {
  EXPECT_THAT(error_of(GetParam().toml), HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Config, EveryMistake,
    testing::Values(
        Wrong{"", "no [[net]]"}, Wrong{"name = ", "mine.toml:1: not TOML"},
        Wrong{"[+net]", "mine.toml:1: not TOML"},
        // toml++ 3.3 does not know whether U+00DD is white space (base/toml.h).
        Wrong{"\u00DD = 1\n" + kNet, "mine.toml:1: not TOML"},
        Wrong{"net = 3", "mine.toml:1: net of a study must be tables"},
        Wrong{"test_images = 'all'\n" + kNet, "test_images of a study must be a whole number"},
        Wrong{"test_images = -1\n" + kNet, "from 0 to"},
        Wrong{"[latency]\nbatches = [0]\n" + kNet, "mine.toml:2: batches of [latency] must be"},
        Wrong{"[latency]\nbatches = []\n" + kNet, "batches of [latency] is empty"},
        Wrong{"[latency]\nseconds = nan\n" + kNet, "seconds of [latency] must be a number"},
        Wrong{"[latency]\nseconds = 'x'\n" + kNet, "seconds of [latency] must be a number"},
        Wrong{"variants = 'fp32'\n" + kNet, "variants of a study must be a list"},
        Wrong{"latency = 1\n" + kNet, "latency of a study must be a table"},
        Wrong{"[[net]]\nvariants=['fp32']", "mine.toml:1: a net has one of zoo, model and train"},
        Wrong{"[[net]]\nzoo='a'\nmodel='b'\nvariants=['fp32']", "a net has one of"},
        Wrong{"[[net]]\nzoo='a'", "no variants"},
        Wrong{"[[net]]\nzoo='a'\nset=['x']\nvariants=['fp32']", "set goes with train"},
        Wrong{"[[net]]\nzoo='a'\ntrained_on='x'\nvariants=['fp32']", "trained_on goes with model"},
        Wrong{"[[net]]\nzoo='a'\nvariants=['in8']", "did you mean 'int8'"},
        Wrong{"[[net]]\nzoo='a'\nvariants=['prune:0.5','prune:0.50']", "'prune:0.5' stands there"},
        Wrong{kNet + kNet, "two nets called 'a'"}));

TEST(StudyConfig, BuiltinStudiesAreReadAndOthersNamed) {
  for (const std::string& name : builtin_study_names()) {
    const auto config = load_study_config(name);
    ASSERT_TRUE(config.ok()) << config.status().message();
    EXPECT_EQ(config->name, name);
  }
  EXPECT_THAT(builtin_study_names(), ElementsAre("compression", "default", "smoke"));
  EXPECT_THAT(load_study_config("defualt").status().message(),
              HasSubstr("compression, default, smoke"));
  EXPECT_THAT(load_study_config("/no/such.toml").status().message(), HasSubstr("/no/such.toml"));
}

TEST(StudyConfig, TrainsWhereANetIsTrainedOrAVariantFineTunes) {
  const auto trains = [](const std::string& toml) {
    const auto config = parse_study_config(toml, "mine.toml");
    EXPECT_TRUE(config.ok()) << config.status().message();
    return config.ok() && needs_trainer(*config);
  };
  EXPECT_FALSE(trains("[[net]]\nzoo='a'\nvariants=['fp32','prune:0.5+int8']"));
  EXPECT_TRUE(trains("[[net]]\nzoo='a'\nvariants=['fp32','prune:0.5+finetune:1']"));
  EXPECT_TRUE(trains("[[net]]\ntrain='vit-seed-quick'\nvariants=['fp32']"));
}

}  // namespace
}  // namespace pare
