#include "graph/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "base/file.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<const std::byte> share(const std::string& text) {
  auto copy = std::make_shared<std::string>(text);
  return {copy, reinterpret_cast<const std::byte*>(copy->data())};
}

std::string with_header(const std::string& json, const std::string& data) {
  const uint64_t size = json.size();
  return std::string(reinterpret_cast<const char*>(&size), 8) + json + data;
}

std::string error(const std::string& bytes) {
  const auto content = parse_safetensors(share(bytes), bytes.size());
  return content.ok() ? "read" : content.status().message();
}

std::string error(const std::string& json, const std::string& data) {
  return error(with_header(json, data));
}

TEST(Safetensors, ReadsWhatTheReferenceLibraryWrites) {
  // tests/fixtures/make_safetensors.py: arange in each type's own shape, ending in its extremes.
  const auto content =
      read_safetensors(testing_files::fixture_path("safetensors/types.safetensors"));
  ASSERT_TRUE(content.ok()) << content.status().message();
  EXPECT_EQ(content->metadata.at("made by"), "make_safetensors.py");
  const std::map<std::string, std::vector<float>> expected = {
      {"f32", {0, 1, 2, 3, -3e38F, 3e38F}},
      {"f16", {0, 1, 2, 3, -65504, 65504}},
      {"bf16", {0, 1, 2, 3, -256, 256}},
      {"i8", {0, 1, 2, 3, -128, 127}},
      {"u8", {0, 1, 2, 3, 0, 255}},
      {"i32", {0, 1, 2, 3, -0x1p31F, 0x1p31F}},
      {"i64", {0, 1, 2, 3, -0x1p63F, 0x1p63F}}};
  ASSERT_EQ(content->tensors.size(), expected.size() + 1);
  for (const auto& [name, values] : expected) {
    EXPECT_EQ(content->tensors.at(name).shape(), (Shape{2, 3})) << name;
    EXPECT_EQ(to_float_vector(content->tensors.at(name)), values) << name;
  }
  EXPECT_EQ(content->tensors.at("empty").shape(), (Shape{0, 4}));
}

TEST(Safetensors, WhatIsWrittenIsReadBack) {
  Safetensors content;
  content.metadata = {{"key", "a \"value\""}};
  content.tensors["z"] = Tensor::from_values<float>({2}, std::vector<float>{1.5F, -2.0F});
  content.tensors["a"] = Tensor::from_values<uint8_t>({3}, std::vector<uint8_t>{1, 2, 3});
  content.tensors["scalar"] = Tensor::scalar<int64_t>(-7);
  content.tensors["none"] = Tensor(DType::kFloat16, {0});
  const std::string path =
      (std::filesystem::temp_directory_path() / "pare_safetensors_test").string();
  ASSERT_TRUE(write_safetensors(content, path).ok());
  const auto again = read_safetensors(path);
  std::filesystem::remove(path);
  ASSERT_TRUE(again.ok()) << again.status().message();
  EXPECT_EQ(again->metadata, content.metadata);
  ASSERT_EQ(again->tensors.size(), 4U);
  for (const auto& [name, tensor] : content.tensors) {
    const Tensor& other = again->tensors.at(name);
    EXPECT_EQ(other.type(), tensor.type());
    EXPECT_EQ(other.shape(), tensor.shape());
    EXPECT_EQ(to_float_vector(other), to_float_vector(tensor));
  }
  content.tensors["nibbles"] = Tensor(DType::kInt4, {2});
  EXPECT_THAT(write_safetensors(content, path).message(), HasSubstr("'nibbles' is int4"));
}

TEST(Safetensors, RefusesHeadersThatLie) {
  const std::string two(8, '\0');
  const auto tensor = [](const char* dtype, const char* shape, const char* offsets) {
    return std::string(R"({"t":{"dtype":")") + dtype + R"(","shape":)" + shape +
           R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_EQ(error(tensor("F32", "[2]", "[0,8]"), two), "read");
  EXPECT_THAT(error(tensor("F32", "[3]", "[0,8]"), two), HasSubstr("float32 of 3 needs 12"));
  EXPECT_THAT(error(tensor("F32", "[2]", "[0,9]"), two), HasSubstr("do not lie in the file's 8"));
  EXPECT_THAT(error(tensor("F32", "[2]", "[8,0]"), two), HasSubstr("do not lie"));
  EXPECT_THAT(error(tensor("F32", "[-2]", "[0,8]"), two), HasSubstr("not a size"));
  EXPECT_THAT(error(tensor("F32", "[1.5]", "[0,8]"), two), HasSubstr("not a size"));
  EXPECT_THAT(error(tensor("F32", "[18446744073709551615]", "[0,8]"), two),
              HasSubstr("not a size"));
  EXPECT_THAT(error(tensor("F32", "[4611686018427387904,4]", "[0,0]"), ""), HasSubstr("2^40"));
  EXPECT_THAT(error(tensor("F32", "[0,4611686018427387904,9]", "[0,0]"), ""), HasSubstr("2^40"));
  EXPECT_THAT(error(tensor("F8_E4M3", "[8]", "[0,8]"), two), HasSubstr("no type for 'F8_E4M3'"));
  EXPECT_THAT(error(tensor("BOOL", "[8]", "[0,8]"), "\x01\x02......"), HasSubstr("a bool of 2"));
  EXPECT_THAT(error(tensor("F32", "[1]", "[4,8]"), two), HasSubstr("there is a hole"));
  EXPECT_THAT(error(tensor("F32", "[1]", "[0,4]"), two), HasSubstr("the tensors take 4"));
}

TEST(Safetensors, RefusesOverlapsAndOtherJson) {
  EXPECT_THAT(error(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                    R"("b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
                    "123456"),
              HasSubstr("tensors overlap"));
  for (const char* json : {"", "[]", "{", "3", "{\"a\":3}", "{\"__metadata__\":3}",
                           "{\"__metadata__\":{\"a\":[]}}", "{\"a\":{}}"}) {
    EXPECT_NE(error(json, ""), "read") << json;
  }
  EXPECT_THAT(error(std::string(1 << 20, '['), ""), HasSubstr("not a JSON object"));
  EXPECT_EQ(error("{}", ""), "read");
}

TEST(Safetensors, RefusesShortFilesAndHugeHeaders) {
  EXPECT_THAT(error(""), HasSubstr("0 bytes"));
  EXPECT_THAT(error(std::string(7, '\1')), HasSubstr("7 bytes"));
  EXPECT_THAT(error(std::string(8, '\xff')), HasSubstr("a header of 18446744073709551615 bytes"));
  EXPECT_THAT(error(std::string("\x09\0\0\0\0\0\0\0{}", 10)), HasSubstr("a header of 9 bytes"));
}

}  // namespace
}  // namespace pare
