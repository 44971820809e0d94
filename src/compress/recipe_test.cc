#include "compress/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pare {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(Recipe, ShortFormFillsInDefaults) {
  const auto recipe = parse_recipe("prune:0.9+int8");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  ASSERT_EQ(recipe->steps.size(), 2U);
  const RecipeStep& prune = recipe->steps[0];
  EXPECT_EQ(prune.method, "prune");
  EXPECT_EQ(prune.number("sparsity"), 0.9);
  EXPECT_EQ(prune.word("share"), "sensitivity");
  EXPECT_THAT(prune.names("skip"), IsEmpty());
  EXPECT_EQ(recipe->steps[1].word("range"), "percentile");
  EXPECT_EQ(recipe->steps[1].number("percentile"), 99.99);
}

TEST(Recipe, OptionsAndNames) {
  const auto recipe = parse_recipe("prune:0.5,share=uniform,skip=conv1;fc8");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe->steps[0].word("share"), "uniform");
  EXPECT_THAT(recipe->steps[0].names("skip"), ElementsAre("conv1", "fc8"));
}

TEST(Recipe, StringIsReadBackTheSame) {
  for (const char* text : {"fp16", "prune:0.9",
                           "prune:0.95,share=global,skip=a;b+finetune:2.5,lr=0.002+int8,range=mse",
                           "prune:0.1+prune:0.2+bf16", "int8-dynamic,skip=head", "int8+fp16"}) {
    const auto recipe = parse_recipe(text);
    ASSERT_TRUE(recipe.ok()) << text << ": " << recipe.status().message();
    EXPECT_EQ(recipe_string(*recipe), text);
    const auto again = parse_recipe(recipe_string(*recipe));
    ASSERT_TRUE(again.ok());
    for (size_t i = 0; i < recipe->steps.size(); ++i) {
      EXPECT_EQ(again->steps[i].options, recipe->steps[i].options) << text;
    }
  }
  // An option at its default is left out.
  EXPECT_EQ(recipe_string(*parse_recipe("int8,range=percentile,percentile=99.99")), "int8");
}

// TensorFlow's exporter writes "model/dense/MatMul;model/dense/BiasAdd".
TEST(Recipe, NamesMayHoldWhatALineIsMadeOf) {
  const std::vector<std::string> names = {"a;b", "c+d", "e,f=g", "back\\slash", "plain:1"};
  const std::string line = R"(int8,skip=a\;b;c\+d;e\,f=g;back\\slash;plain:1+fp16)";
  const auto recipe = parse_recipe(line);
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  ASSERT_EQ(recipe->steps.size(), 2U);
  EXPECT_EQ(recipe->steps[0].names("skip"), names);
  EXPECT_EQ(recipe_string(*recipe), line);
  const auto toml = parse_recipe_toml(
      "[[step]]\nmethod = 'int8'\nskip = ['a;b', 'c+d', 'e,f=g', 'back\\slash', 'plain:1']\n"
      "[[step]]\nmethod = 'fp16'\n",
      "r.toml");
  ASSERT_TRUE(toml.ok()) << toml.status().message();
  EXPECT_EQ(recipe_string(*toml), line);
  // A backslash at the end stands for itself.
  EXPECT_THAT(parse_recipe("int8,skip=x\\")->steps[0].names("skip"), ElementsAre("x\\"));
}

// Each of many steps is placed, and a message is no longer than it helps.
TEST(Recipe, ALongOneIsQuotedInPart) {
  std::string text = "in8";
  for (int i = 0; i < 100'000; ++i) text += "+in8";
  const auto recipe = parse_recipe(text);
  ASSERT_FALSE(recipe.ok());
  EXPECT_LT(recipe.status().message().size(), 500U);
}

TEST(Recipe, TomlSaysTheSame) {
  const auto recipe = parse_recipe_toml(
      "[[step]]\nmethod = \"prune\"\nsparsity = 0.9\nshare = \"uniform\"\nskip = [\"conv1\", "
      "\"fc8\"]\n\n[[step]]\nmethod = \"finetune\"\nepochs = 3\n\n[[step]]\nmethod = \"int8\"\n",
      "r.toml");
  ASSERT_TRUE(recipe.ok()) << recipe.status().message();
  EXPECT_EQ(recipe_string(*recipe), "prune:0.9,share=uniform,skip=conv1;fc8+finetune:3+int8");
}

struct Wrong {
  const char* recipe;
  const char* says;
};

// A refusal points at the place and says what there is.
TEST(Recipe, WrongShortFormsAreRefused) {
  const Wrong cases[] = {
      {"", "character 1: expected a method, found nothing"},
      {"int8+", "character 6: expected a method"},
      {"in8", "character 1: there is no method 'in8'; did you mean 'int8'?"},
      {"prune:0.9+in8", "character 11: there is no method 'in8'"},
      {"prune", "'prune' needs its sparsity: prune:sparsity"},
      {"prune:", "character 7: sparsity takes a number from 0 to 0.9999, found ''"},
      {"prune:x", "found 'x'"},
      {"prune:0.9x", "found '0.9x'"},
      {"prune:nan", "found 'nan'"},
      {"prune:1e999", "found '1e999'"},
      {"prune:-0.1", "found -0.1"},
      {"prune:1", "sparsity takes a number from 0 to 0.9999, found 1"},
      {"prune:0.5;0.6", "sparsity takes one value, found 2"},
      {"prune:0.5,sparsity=0.6", "character 11: sparsity is given twice"},
      {"prune:0.5,share=uniformly", "share cannot be 'uniformly'; did you mean 'uniform'?"},
      {"prune:0.5,shar=global", "'prune' has no option 'shar'; did you mean 'share'?"},
      {"prune:0.5,share", "character 11: expected option=value, found 'share'"},
      {"prune:0.5,=x", "expected option=value"},
      {"int8:4", "character 6: 'int8' takes no value after ':', found '4'"},
      {"finetune:1,batch=1.5", "batch takes an integer from 1 to 65536, found 1.5"},
      {"int8+prune:0.5", "character 6: 'prune' works on float32 weights and must stand before"},
      {"fp16+int8", "must stand before 'fp16'"},
      {"int8+int8-dynamic", "exclude each other"},
      {"fp16+bf16", "exclude each other"},
  };
  for (const Wrong& wrong : cases) {
    const auto recipe = parse_recipe(wrong.recipe);
    ASSERT_FALSE(recipe.ok()) << wrong.recipe;
    EXPECT_EQ(recipe.status().code(), StatusCode::kInvalidArgument) << wrong.recipe;
    EXPECT_THAT(recipe.status().message(), HasSubstr(wrong.says));
    EXPECT_EQ(recipe.status().message().find('\n'), std::string::npos) << "more than one line";
  }
}

TEST(Recipe, WrongTomlIsRefused) {
  const Wrong cases[] = {
      {"", "r.toml: expected at least one [[step]] table"},
      {"step = 3", "expected at least one [[step]] table"},
      {"[step]\nmethod = \"int8\"", "expected at least one [[step]] table"},
      {"[[step]]\nmethod = \"int8\"\n[other]\nx = 1", "r.toml:3: unknown key 'other'"},
      {"[[step]]\nsparsity = 1", "r.toml:1: a [[step]] needs method"},
      {"[[step]]\nmethod = 8", "a [[step]] needs method"},
      {"[[step]]\nmethod = \"int8\"\nrange = true",
       "r.toml:3: range takes a string, a number or a list of them, found true"},
      {"[[step]]\nmethod = \"int8\"\nskip = [[1]]",
       "r.toml:3: skip takes strings or numbers in its list, found [ 1 ]"},
      {"[[step]]\nmethod = \"int8\"\nrange = \"mean\"", "r.toml:3: range cannot be 'mean'"},
      {"[[step]]\nmethod = \"prune\"\nsparsity = 2", "r.toml:3: sparsity takes a number"},
      {"[[step]\n", "r.toml:1: not TOML"},
      {"[+", "r.toml:1: not TOML"},
      {"[[step]]\nmethod = \"int8\"\n[[step]]\nmethod = \"finetune\"\nepochs = 1",
       "r.toml:3: 'finetune' works on float32 weights and must stand before 'int8'"},
  };
  for (const Wrong& wrong : cases) {
    const auto recipe = parse_recipe_toml(wrong.recipe, "r.toml");
    ASSERT_FALSE(recipe.ok()) << wrong.recipe;
    EXPECT_EQ(recipe.status().code(), StatusCode::kInvalidArgument) << wrong.recipe;
    EXPECT_THAT(recipe.status().message(), HasSubstr(wrong.says));
    EXPECT_EQ(recipe.status().message().find('\n'), std::string::npos) << "more than one line";
  }
}

TEST(Recipe, MissingFileIsNamed) {
  const auto recipe = load_recipe("/nowhere/at/all.toml");
  ASSERT_FALSE(recipe.ok());
  EXPECT_THAT(recipe.status().message(), HasSubstr("/nowhere/at/all.toml"));
}

TEST(Recipe, KnowsWhatItNeeds) {
  const auto needs = [](const char* text) {
    const Recipe recipe = *parse_recipe(text);
    return std::pair(needs_images(recipe), needs_trainer(recipe));
  };
  EXPECT_EQ(needs("fp16"), std::pair(false, false));
  EXPECT_EQ(needs("int8-dynamic"), std::pair(false, false));
  EXPECT_EQ(needs("prune:0.5,share=uniform"), std::pair(false, false));
  EXPECT_EQ(needs("prune:0.5"), std::pair(true, false));
  EXPECT_EQ(needs("prune:0.5,share=global+int8"), std::pair(true, false));
  EXPECT_EQ(needs("finetune:1"), std::pair(true, true));
  EXPECT_EQ(needs("prune:0.5,share=uniform,score=taylor"), std::pair(true, true));
  EXPECT_EQ(needs("shrink:0.5,importance=l1,means=drop"), std::pair(false, false));
  EXPECT_EQ(needs("shrink:0.5,importance=taylor,means=drop"), std::pair(true, true));
  EXPECT_EQ(needs("share:4"), std::pair(false, false));
  EXPECT_EQ(needs("share:4,importance=inputs"), std::pair(true, false));
}

TEST(Recipe, HelpNamesEveryMethodAndOption) {
  const std::string help = recipe_help();
  for (const Method& method : methods()) {
    EXPECT_THAT(help, HasSubstr("  " + method.name));
    for (const OptionSpec& option : method.options) EXPECT_THAT(help, HasSubstr(option.name));
  }
}

}  // namespace
}  // namespace pare
