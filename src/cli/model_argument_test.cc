#include "cli/model_argument.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::IsSupersetOf;

TEST(ModelPath, ANameIsOneOfTheZoo) {
  EXPECT_THAT(zoo_names(), IsSupersetOf({"alexnet", "vit-seed"}));
  const auto path = model_path("alexnet");
  ASSERT_TRUE(path.ok()) << path.status().message();
  EXPECT_THAT(*path, EndsWith("/zoo/alexnet.pare"));
  EXPECT_TRUE(file_exists(*path));
}

TEST(ModelPath, AFileIsItself) {
  const testing_files::TemporaryFolder folder;
  ASSERT_TRUE(write_file(folder.path("alexnet"), "x").ok());
  EXPECT_EQ(*model_path(folder.path("alexnet")), folder.path("alexnet"));
  EXPECT_EQ(*model_path("no-such.onnx"), "no-such.onnx");  // whoever opens it says so
  EXPECT_EQ(*model_path("no/alexnet"), "no/alexnet");
  EXPECT_EQ(*model_path("."), ".");
}

TEST(ModelPath, AMistypedNameIsAnsweredWithTheNearest) {
  const auto path = model_path("alexnets");
  ASSERT_FALSE(path.ok());
  EXPECT_THAT(path.status().message(), HasSubstr("did you mean 'alexnet'"));
}

}  // namespace
}  // namespace pare
