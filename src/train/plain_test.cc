// The parts of training that need no Torch: recipes, schedules, checkpoints, event files.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "train/checkpoint.h"
#include "train/event_file.h"
#include "train/finish.h"
#include "train/recipe.h"
#include "train/schedule.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

using testing::HasSubstr;

std::string temporary_folder(const std::string& name) {
  const std::string path = testing::TempDir() + "/pare_train_" + name;
  std::filesystem::remove_all(path);
  std::filesystem::create_directories(path);
  return path;
}

std::string message_of(const std::string& toml) {
  const std::string path = temporary_folder("recipe") + "/r.toml";
  EXPECT_TRUE(write_file(path, std::string_view(toml)).ok());
  const auto recipe = load_train_recipe(path);
  EXPECT_FALSE(recipe.ok()) << toml;
  return recipe.status().message();
}

TEST(TrainRecipe, EveryBuiltinOneLoads) {
  ASSERT_FALSE(builtin_recipe_names().empty());
  for (const std::string& name : builtin_recipe_names()) {
    const auto recipe = load_train_recipe(name);
    ASSERT_TRUE(recipe.ok()) << recipe.status().message();
    EXPECT_EQ(recipe->name, name);
  }
}

TEST(TrainRecipe, WrittenAndReadAgainIsTheSame) {
  auto recipe = load_train_recipe("alexnet");
  ASSERT_TRUE(recipe.ok());
  ASSERT_TRUE(set_recipe_field(*recipe, "schedule.steps=[1, 2.5]").ok());
  ASSERT_TRUE(set_recipe_field(*recipe, "data.path=/a \"b\"\\c\n").ok());
  ASSERT_TRUE(set_recipe_field(*recipe, "optimiser.lr=0.1234567890123").ok());
  const std::string path = temporary_folder("again") + "/r.toml";
  ASSERT_TRUE(write_file(path, std::string_view(recipe_toml(*recipe))).ok());
  const auto again = load_train_recipe(path);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(recipe_toml(*again), recipe_toml(*recipe));
  EXPECT_EQ(again->data.path, "/a \"b\"\\c\n");
  EXPECT_EQ(again->optimiser.lr, 0.1234567890123);
}

// Whatever a recipe may hold, its file says the same.
TEST(TrainRecipe, WhatTomlWritesInItsOwnWayIsReadAgain) {
  const auto recipe = parse_train_recipe(
      "name = \"\\u007F\\t\\u0085\\\\\"\n[optimiser]\nlr = -0.0\n[schedule]\nsteps = [-0.0, "
      "1e-7]\n",
      "r.toml");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  const auto again = parse_train_recipe(recipe_toml(*recipe), "again.toml");
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->name, recipe->name);
  EXPECT_EQ(recipe_toml(*again), recipe_toml(*recipe));
}

TEST(TrainRecipe, TextThatIsNotUtf8IsRefused) {
  TrainRecipe recipe;
  ASSERT_TRUE(set_recipe_field(recipe, "data.path=/photos/\xe9t\xe9").ok());
  EXPECT_THAT(check_train_recipe(recipe).message(), HasSubstr("data.path must be UTF-8"));
}

TEST(TrainRecipe, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(message_of("[optimiser]\nlrr = 1.0\n"), HasSubstr("r.toml:2"));
  EXPECT_THAT(message_of("[optimiser]\nlrr = 1.0\n"), HasSubstr("'optimiser.lr'"));
  EXPECT_THAT(
      message_of("[optimiser]\nlr = \"fast\"\n"),
      HasSubstr("r.toml:2: optimiser.lr must be a number between 0 and 1000, found 'fast'"));
  EXPECT_THAT(message_of("[optimiser]\nkind = \"adam\"\n"), HasSubstr("sgd, adamw"));
  EXPECT_THAT(message_of("[train]\nbatch_size = 0\n"), HasSubstr("between 1 and"));
  EXPECT_THAT(message_of("[train]\nbatch_size = 1.5\n"),
              HasSubstr("a whole number between 1 and 65536, found 1.5"));
  EXPECT_THAT(message_of("[train]\nepochs = nan\n"), HasSubstr("between"));
  EXPECT_THAT(message_of("[schedule]\nsteps = [3, 1]\n"), HasSubstr("must rise"));
  EXPECT_THAT(message_of("[train\n"), HasSubstr("not TOML"));
  EXPECT_THAT(message_of("base = \"nosuch\"\n"), HasSubstr("no recipe 'nosuch'"));
}

TEST(TrainRecipe, ABaseIsReadFirstAndACircleIsNoticed) {
  const std::string folder = temporary_folder("base");
  const auto write = [&](const std::string& name, const std::string& text) {
    ASSERT_TRUE(write_file(folder + "/" + name, std::string_view(text)).ok());
  };
  write("a.toml", "base = \"alexnet\"\n[train]\nepochs = 3\n");
  const auto recipe = load_train_recipe(folder + "/a.toml");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe->train.epochs, 3);
  EXPECT_EQ(recipe->model.name, "alexnet");
  // A file is looked for beside the recipe, not where the program was started.
  write("c.toml", "base = \"a.toml\"\n[train]\nseed = 7\n");
  const auto derived = load_train_recipe(folder + "/c.toml");
  ASSERT_TRUE(derived.ok()) << derived.status().message();
  EXPECT_EQ(derived->train.epochs, 3);
  EXPECT_EQ(derived->train.seed, 7);
  write("d.toml", "base = \"nosuch.toml\"\n");
  EXPECT_THAT(load_train_recipe(folder + "/d.toml").status().message(),
              HasSubstr(folder + "/nosuch.toml"));
  write("b.toml", "base = \"" + folder + "/b.toml\"\n");
  EXPECT_THAT(load_train_recipe(folder + "/b.toml").status().message(), HasSubstr("circle"));
}

TEST(TrainRecipe, FieldsAreSetFromTheCommandLine) {
  TrainRecipe recipe;
  EXPECT_TRUE(set_recipe_field(recipe, "optimiser.kind=adamw").ok());
  EXPECT_TRUE(set_recipe_field(recipe, "augment.flip=true").ok());
  EXPECT_TRUE(set_recipe_field(recipe, "train.epochs=2").ok());
  EXPECT_EQ(recipe.optimiser.kind, "adamw");
  EXPECT_TRUE(recipe.augment.flip);
  EXPECT_EQ(recipe.train.epochs, 2);
  EXPECT_THAT(set_recipe_field(recipe, "train.epochs").message(), HasSubstr("FIELD=VALUE"));
  EXPECT_THAT(set_recipe_field(recipe, "train.epochs=two").message(), HasSubstr("found 'two'"));
  EXPECT_THAT(set_recipe_field(recipe, "train.epochs=1\nother=2").message(),
              HasSubstr("must be a number"));
  EXPECT_EQ(set_recipe_field(recipe, "train.batch_size=x", "--batch-size").message(),
            "--batch-size: train.batch_size must be a whole number between 1 and 65536, found 'x'");
}

TEST(Schedule, CosineWithWarmUp) {
  const TrainRecipe::Schedule s = {.kind = "cosine", .warmup_epochs = 1, .final_share = 0.1};
  const ScheduleLength length = {4, 12};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 0), 0.25);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 3), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 4), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 8), 0.55);  // half way: the mean of 1 and 0.1
  EXPECT_NEAR(schedule_factor(s, length, 12), 0.1, 1e-12);
}

TEST(Schedule, WarmUpIsAtMostHalfOfTheRun) {
  const TrainRecipe::Schedule s = {.kind = "cosine", .warmup_epochs = 5};
  const ScheduleLength length = {4, 8};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 3), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 6), 0.5);
  EXPECT_DOUBLE_EQ(schedule_factor(s, {1, 1}, 0), 1.0);
}

TEST(Schedule, OneCycleStepConstantAndLinear) {
  TrainRecipe::Schedule s = {
      .kind = "one-cycle", .final_share = 0, .peak = 0.5, .start_share = 0.2};
  const ScheduleLength length = {10, 100};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 0), 0.2);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 25), 0.6);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 50), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 75), 0.5);
  s = {.kind = "step", .steps = {2, 5}, .step_factor = 0.1};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 19), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 20), 0.1);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 50), 0.1 * 0.1);
  s = {.kind = "constant"};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 99), 1.0);
  s = {.kind = "linear", .final_share = 0.2};
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 0), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(s, length, 50), 0.6);
}

const Node* node_of(const Graph& graph, const std::string& name) {
  for (const Node& node : graph.nodes) {
    if (node.name == name) return &node;
  }
  return nullptr;
}

TEST(PrepareGraph, DropoutGetsItsShareAndNobodyElseDoes) {
  TrainRun run = tiny_run("");
  run.recipe.model.dropout = 0.5;
  // What is dropped by 0.1 is also multiplied by it.
  const auto dense = std::prev(run.graph.nodes.end());
  dense->inputs[0] = "tenth";
  run.graph.nodes.insert(dense, {"Mul", "", "tenth", {"drop", "ratio"}, {"tenth"}, {}});
  const auto prepared = prepare_graph(run);
  ASSERT_TRUE(prepared.ok()) << prepared.status().message();
  const Node* drop = node_of(*prepared, "drop");
  EXPECT_EQ(to_float_vector(prepared->initializers.at(drop->inputs[1]))[0], 0.5F);
  const Node* tenth = node_of(*prepared, "tenth");
  EXPECT_EQ(to_float_vector(prepared->initializers.at(tenth->inputs[1]))[0], 0.1F);
}

TEST(FinishGraph, ABiasOfTwoLayersIsFoldedForEach) {
  const TrainRun run = tiny_run("");
  Graph graph = run.graph;
  graph.initializers["both"] = Tensor::from_values<float>({6}, std::vector<float>(6, 3.0F));
  for (Node& node : graph.nodes) {
    if (node.op == "Conv") node.inputs[2] = "both";
  }
  for (float& shift : graph.initializers["bn1.shift"].mutable_values<float>()) shift = 10;
  for (float& shift : graph.initializers["bn2.shift"].mutable_values<float>()) shift = 20;
  const auto finished = finish_graph(graph, run);
  ASSERT_TRUE(finished.ok()) << finished.status().message();
  const auto bias = [&](const std::string& layer) {
    return to_float_vector(finished->initializers.at(node_of(*finished, layer)->inputs[2]))[0];
  };
  EXPECT_NEAR(bias("conv1"), 13, 1e-3);
  EXPECT_NEAR(bias("conv2"), 23, 1e-3);
}

TEST(FinishGraph, ABatchNormWhoseScaleIsComputedStays) {
  const TrainRun run = tiny_run("");
  Graph graph = run.graph;
  graph.nodes.insert(graph.nodes.begin(),
                     {"Identity", "", "computed", {"bn1.scale"}, {"computed"}, {}});
  for (Node& node : graph.nodes) {
    if (node.name == "bn1") node.inputs[1] = "computed";
  }
  const auto finished = finish_graph(graph, run);
  ASSERT_TRUE(finished.ok()) << finished.status().message();
  EXPECT_NE(node_of(*finished, "bn1"), nullptr);
  EXPECT_EQ(node_of(*finished, "bn2"), nullptr);
}

Checkpoint small_checkpoint() {
  Checkpoint c;
  c.state = {{"step", 7}, {"recipe", "text"}};
  c.tensors["a"] = Tensor::from_values<float>({2, 3}, std::vector<float>{1, 2, 3, 4, 5, NAN});
  c.tensors["b"] = Tensor::from_values<int64_t>({}, std::vector<int64_t>{-1});
  c.tensors["none"] = Tensor(DType::kFloat32, {0, 4});
  return c;
}

TEST(CheckpointFile, ComesBackBitForBit) {
  const std::string path = temporary_folder("checkpoint") + "/c";
  const Checkpoint c = small_checkpoint();
  ASSERT_TRUE(write_checkpoint(path, c).ok());
  const auto back = read_checkpoint(path);
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(back->state, c.state);
  ASSERT_EQ(back->tensors.size(), 3U);
  for (const auto& [name, tensor] : c.tensors) {
    const Tensor& other = back->tensors.at(name);
    EXPECT_EQ(other.type(), tensor.type());
    EXPECT_EQ(other.shape(), tensor.shape());
    EXPECT_EQ(0,
              std::memcmp(other.data(), tensor.data(), static_cast<size_t>(tensor.byte_count())));
  }
}

TEST(CheckpointFile, EveryTruncationAndEveryFlippedByteIsRefused) {
  const std::string folder = temporary_folder("damaged");
  ASSERT_TRUE(write_checkpoint(folder + "/c", small_checkpoint()).ok());
  const auto whole = read_file(folder + "/c", 1 << 20);
  ASSERT_TRUE(whole.ok());
  const std::string damaged = folder + "/d";
  // The padding carries nothing: a change there may pass, but nothing else may.
  const Checkpoint expected = small_checkpoint();
  // Not by write_file, which waits for the disk each time.
  const auto write = [&damaged](std::span<const std::byte> bytes) {
    std::ofstream file(damaged, std::ios::binary | std::ios::trunc);
    file.write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  };
  for (size_t i = 0; i < whole->size(); ++i) {
    write(std::span(*whole).first(i));
    const auto cut = read_checkpoint(damaged);
    EXPECT_TRUE(!cut.ok() || i >= whole->size() - 63) << i;
    std::vector<std::byte> flipped = *whole;
    flipped[i] ^= std::byte{0x10};
    write(flipped);
    const auto read = read_checkpoint(damaged);
    if (read.ok()) {
      EXPECT_EQ((*whole)[i], std::byte{0}) << i;
      EXPECT_EQ(read->state, expected.state);
    } else {
      EXPECT_THAT(read.status().message(), HasSubstr(damaged));
    }
  }
}

// The check value of CRC-32C in every catalogue of CRCs.
TEST(EventFile, CrcIsCastagnolis) {
  const std::string digits = "123456789";
  EXPECT_EQ(crc32c(std::as_bytes(std::span(digits))), 0xe3069283U);
}

TEST(EventFile, RecordsAreFramedAsTensorBoardReadsThem) {
  auto file = EventFile::create(temporary_folder("events"));
  ASSERT_TRUE(file.ok()) << file.status().message();
  const std::pair<std::string, double> scalar = {"loss", 1.5};
  ASSERT_TRUE(file->add(300, {&scalar, 1}).ok());
  const auto text = read_text_file(file->path());
  ASSERT_TRUE(text.ok());
  std::vector<std::string> events;
  for (size_t at = 0; at < text->size();) {
    uint64_t length = 0;
    ASSERT_LE(at + 12, text->size());
    std::memcpy(&length, text->data() + at, 8);
    ASSERT_LE(at + 16 + length, text->size());
    events.push_back(text->substr(at + 12, length));
    at += 16 + length;
  }
  ASSERT_EQ(events.size(), 2U);
  EXPECT_THAT(events[0], HasSubstr("brain.Event:2"));
  // wall_time: 9 bytes; step 300: 10 ac 02; summary: 2a, 13 bytes; value: 0a, 11 bytes; tag: 0a 04
  // "loss"; simple_value 1.5: 15 00 00 c0 3f. Written out by hand from event.proto.
  EXPECT_EQ(events[1].substr(9), std::string("\x10\xac\x02\x2a\x0d\x0a\x0b\x0a\x04loss\x15\x00\x00"
                                             "\xc0\x3f",
                                             18));
}

}  // namespace
}  // namespace pare
