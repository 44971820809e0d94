// ONNX in and out. The fixtures come from PyTorch's two exporters and onnx.helper
// (tests/fixtures/make_onnx.py); hostile files are made here byte by byte.
#include "graph/onnx.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/file.h"
#include "graph/contract.h"
#include "graph/cost.h"
#include "graph/model_file.h"
#include "graph/opset.h"
#include "graph/protobuf.h"
#include "graph/toy.h"
#include "testing/files.h"

namespace pare {
namespace {

using ::testing::HasSubstr;
using toy::count_op;
namespace fs = std::filesystem;

std::string fixture_file(const std::string& name) {
  return testing_files::fixture_path("onnx/" + name);
}

std::span<const std::byte> as_bytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (fs::temp_directory_path() / "pare_onnx_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return (path_ / name).string(); }

 private:
  fs::path path_;
};

TEST(ReadOnnx, ReadsWhatBothExportersOfPyTorchWrite) {
  // Parameters by hand: residual is 8·3·49+8 + 12·8·9+12 + 12·12·9+12 + 12·8+12 + 12·10+10.
  for (const char* name : {"residual_script.onnx", "residual_dynamo.onnx"}) {
    const auto graph = read_onnx(fixture_file(name));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_EQ(count_op(*graph, "Conv"), 4);
    EXPECT_EQ(graph->parameter_count(), 1184 + 876 + 1308 + 108 + 130);
    EXPECT_EQ(graph->outputs[0].shape, (Shape{kDynamic, 10}));
    EXPECT_EQ(graph->inputs[0].shape, (Shape{kDynamic, 3, 32, 32}));
    EXPECT_TRUE(graph->contract.float_input);
    EXPECT_EQ(graph->contract.height, 0);  // nothing is guessed
  }
  for (const char* name : {"vit_script.onnx", "vit_dynamo.onnx", "plain_vit_erf_script.onnx",
                           "plain_vit_tanh_dynamo.onnx", "alex_script.onnx", "alex_dynamo.onnx"}) {
    const auto graph = read_onnx(fixture_file(name));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_EQ(graph->outputs[0].shape, (Shape{kDynamic, 10})) << name;
  }
  for (const char* name : {"vit_fixed_script.onnx", "vit_fixed_dynamo.onnx"}) {
    const auto graph = read_onnx(fixture_file(name));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    EXPECT_EQ(graph->outputs[0].shape, (Shape{2, 10})) << name;
  }
}

TEST(ReadOnnx, UnfoldedBatchNormAndConstantNodesAreRead) {
  const auto graph = read_onnx(fixture_file("residual_unfolded.onnx"));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(count_op(*graph, "BatchNormalization"), 4);
  EXPECT_EQ(count_op(*graph, "Constant"), 0);
}

TEST(ReadOnnx, EveryElementTypeHoweverItIsStored) {
  const std::map<std::string, std::vector<float>> expected = {
      {"float", {1.5F, -2.25F, 3e38F}},
      {"double", {1.5F, -2.25F, 3e38F}},
      {"float16", {1.5F, -2.25F, 65504}},
      {"bfloat16", {1.5F, -2.25F, 0x1.c4p127F}},
      {"int8", {-128, 127, 5}},
      {"uint8", {0, 255, 5}},
      {"int16", {-32768, 32767, 5}},
      {"uint16", {0, 65535, 5}},
      {"int32", {-0x1p31F, 0x1p31F, 5}},
      {"int64", {-0x1p63F, 0x1p63F, 5}},
      {"bool", {1, 0, 1}},
      {"int4", {-8, 7, 5}},
      {"uint4", {0, 15, 5}}};
  for (const char* name : {"storage_raw.onnx", "storage_typed.onnx", "storage_external.onnx"}) {
    const auto graph = read_onnx(fixture_file(name));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    ASSERT_EQ(graph->initializers.size(), expected.size());
    for (const auto& [type, values] : expected) {
      EXPECT_EQ(to_float_vector(graph->initializers.at(type)), values) << name << " " << type;
    }
  }
}

void expect_equal(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.opset, b.opset);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.contract, b.contract);
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(a.nodes[i].op, b.nodes[i].op);
    EXPECT_EQ(a.nodes[i].name, b.nodes[i].name);
    EXPECT_EQ(a.nodes[i].inputs, b.nodes[i].inputs);
    EXPECT_EQ(a.nodes[i].outputs, b.nodes[i].outputs);
    EXPECT_EQ(a.nodes[i].attributes.size(), b.nodes[i].attributes.size());
    for (const auto& [key, value] : a.nodes[i].attributes) {
      const auto& other = b.nodes[i].attributes.at(key);
      EXPECT_EQ(value.index(), other.index());
      if (!std::holds_alternative<Tensor>(value)) {
        EXPECT_TRUE(std::visit(
            [&](const auto& v) {
              using T = std::decay_t<decltype(v)>;
              if constexpr (std::is_same_v<T, Tensor>)
                return false;
              else
                return v == std::get<T>(other);
            },
            value))
            << a.nodes[i].name << " " << key;
      }
    }
  }
  ASSERT_EQ(a.initializers.size(), b.initializers.size());
  for (const auto& [name, tensor] : a.initializers) {
    const Tensor& other = b.initializers.at(name);
    EXPECT_EQ(tensor.type(), other.type()) << name;
    EXPECT_EQ(tensor.shape(), other.shape()) << name;
    ASSERT_EQ(tensor.byte_count(), other.byte_count()) << name;
    EXPECT_EQ(std::memcmp(tensor.data(), other.data(), static_cast<size_t>(tensor.byte_count())), 0)
        << name;
  }
}

std::vector<fs::path> data_files(const std::string& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".data") found.push_back(entry.path());
  }
  return found;
}

TEST(WriteOnnx, WhatIsWrittenIsReadBack) {
  TemporaryFolder folder;
  for (const char* name : {"vit_script.onnx", "storage_raw.onnx", "residual_unfolded.onnx"}) {
    auto graph = read_onnx(fixture_file(name));
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    graph->metadata["trained"] = "not at all";
    graph->contract = {.channels = 3,
                       .height = 32,
                       .width = 30,
                       .bgr = true,
                       .resize = 40,
                       .float_input = true,
                       .scale = 0.25F,
                       .mean = {0.1F, 0.2F, 0.3F},
                       .std = {1.0F, 2.0F, 3.0F},
                       .outputs_probabilities = true,
                       .classes = {"cat", "dög", "\"quoted\""}};
    for (const bool external : {false, true}) {
      const std::string path = folder / "model.onnx";
      ASSERT_TRUE(write_onnx(*graph, path, {.external_data = external}).ok());
      const bool large = std::ranges::any_of(
          graph->initializers, [](const auto& entry) { return entry.second.byte_count() >= 1024; });
      EXPECT_EQ(data_files(folder / ".").size(), external && large ? 1U : 0U);
      const auto again = load_model(path);
      ASSERT_TRUE(again.ok()) << again.status().message();
      expect_equal(*graph, *again);
    }
  }
}

// A writer that dies between the two renames must leave the old model with its own weights.
TEST(WriteOnnx, OtherWeightsNeverTakeTheNameOfThoseBefore) {
  TemporaryFolder folder;
  const std::string path = folder / "model.onnx";
  auto graph = read_onnx(fixture_file("vit_script.onnx"));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  const auto write = [&] {
    EXPECT_TRUE(write_onnx(*graph, path, {.external_data = true}).ok());
    return data_files(folder / ".");
  };
  const auto first = write();
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(write(), first);
  const auto large = std::ranges::find_if(
      graph->initializers, [](const auto& entry) { return entry.second.byte_count() >= 1024; });
  ASSERT_NE(large, graph->initializers.end());
  large->second = Tensor(large->second.type(), large->second.shape());
  std::ofstream(folder / "other.onnx.data") << "somebody else's";
  const auto second = write();
  ASSERT_EQ(second.size(), 2U);  // the stale one is gone, what is not ours stays
  EXPECT_FALSE(std::ranges::count(second, first[0]));
  const auto again = load_model(path);
  ASSERT_TRUE(again.ok()) << again.status().message();
  expect_equal(*graph, *again);
}

TEST(WriteOnnx, SameGraphSameBytes) {
  const auto graph = read_onnx(fixture_file("vit_dynamo.onnx"));
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(*serialise_onnx(*graph), *serialise_onnx(*graph));
}

TEST(WriteOnnx, RefusesInternalOperatorsAndUnwritablePlaces) {
  auto graph = read_onnx(fixture_file("alex_script.onnx"));
  ASSERT_TRUE(graph.ok());
  EXPECT_THAT(write_onnx(*graph, "/nonexistent/folder/x.onnx").message(),
              HasSubstr("/nonexistent/folder/x.onnx"));
  EXPECT_THAT(save_model(*graph, "x.pth").message(), HasSubstr("ending in .onnx or .pare"));
  graph->nodes[0].domain = "pare";
  EXPECT_THAT(write_onnx(*graph, "/tmp/x.onnx").message(), HasSubstr("only inside Pare"));
}

// A model written field by field, so that any of them can be wrong.
struct RawModel {
  int64_t opset = 17;
  std::string op = "Relu";
  std::string initializer;  // the bytes of a TensorProto
  std::string attribute;    // the bytes of an AttributeProto
  std::string metadata_key;
  std::string metadata_value;

  std::string bytes() const {
    std::string out;
    protozero::pbf_writer model(out);
    {
      protozero::pbf_writer graph(model, 7);
      {
        protozero::pbf_writer node(graph, 1);
        node.add_string(1, "x");
        node.add_string(2, "y");
        node.add_string(3, "only");
        node.add_string(4, op);
        if (!attribute.empty()) node.add_message(5, attribute);
      }
      if (!initializer.empty()) graph.add_message(5, initializer);
      for (const uint32_t field : {11U, 12U}) {
        protozero::pbf_writer value(graph, field);
        value.add_string(1, field == 11 ? "x" : "y");
        protozero::pbf_writer type(value, 2);
        protozero::pbf_writer tensor(type, 1);
        tensor.add_int32(1, 1);
        protozero::pbf_writer shape(tensor, 2);
        protozero::pbf_writer dimension(shape, 1);
        dimension.add_int64(1, 4);
      }
    }
    {
      protozero::pbf_writer import(model, 8);
      import.add_int64(2, opset);
    }
    if (!metadata_key.empty()) {
      protozero::pbf_writer entry(model, 14);
      entry.add_string(1, metadata_key);
      entry.add_string(2, metadata_value);
    }
    return out;
  }

  std::string error(const std::string& folder = "") const {
    const auto graph = parse_onnx(as_bytes(bytes()), folder);
    return graph.ok() ? "read" : graph.status().message();
  }
};

std::string tensor_proto(const std::vector<int64_t>& dims, int32_t type, const std::string& raw) {
  std::string out;
  protozero::pbf_writer tensor(out);
  for (int64_t d : dims) tensor.add_int64(1, d);
  tensor.add_int32(2, type);
  tensor.add_string(8, "w");
  tensor.add_bytes(9, raw);
  return out;
}

std::string external_proto(const std::string& location, const std::string& offset,
                           const std::string& length) {
  std::string out;
  protozero::pbf_writer tensor(out);
  tensor.add_int64(1, 3);
  tensor.add_int32(2, 2);
  tensor.add_string(8, "w");
  for (const auto& [key, value] : std::map<std::string, std::string>{
           {"location", location}, {"offset", offset}, {"length", length}}) {
    protozero::pbf_writer entry(tensor, 13);
    entry.add_string(1, key);
    entry.add_string(2, value);
  }
  tensor.add_int32(14, 1);
  return out;
}

TEST(ReadOnnx, TheRawModelItselfIsFine) { EXPECT_EQ(RawModel{}.error(), "read"); }

TEST(ReadOnnx, NamesWhatItLacks) {
  EXPECT_THAT(RawModel{.op = "NonZero"}.error(),
              HasSubstr("node 'only' (NonZero): Pare has no operator 'NonZero'"));
  EXPECT_THAT(RawModel{.opset = 12}.error(), HasSubstr("opset 12, Pare reads 13 to 21"));
  EXPECT_THAT(RawModel{.opset = 22}.error(), HasSubstr("opset 22"));
  std::string attribute;
  protozero::pbf_writer writer(attribute);
  writer.add_string(1, "body");
  writer.add_int32(20, 5);
  EXPECT_THAT(RawModel{.attribute = attribute}.error(),
              HasSubstr("node 'only' (Relu): attribute 'body' is of ONNX's kind 5"));
  EXPECT_THAT(RawModel{.initializer = tensor_proto({1}, 8, "")}.error(),
              HasSubstr("tensor 'w': Pare has no type for ONNX's element type 8"));
}

TEST(ReadOnnx, OlderOpsetsBecome17) {
  const auto graph = parse_onnx(as_bytes(RawModel{.opset = 13}.bytes()), "");
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  EXPECT_EQ(graph->opset, 17);
}

TEST(ReadOnnx, RefusesTensorsWhoseSizesLie) {
  const std::string four(16, '\0');
  EXPECT_THAT(RawModel{.initializer = tensor_proto({5}, 1, four)}.error(),
              HasSubstr("tensor 'w': 16 bytes of data, float32 of 5 needs 20"));
  EXPECT_FALSE(RawModel{.initializer = tensor_proto({-4}, 1, four)}.error() == "read");
  EXPECT_THAT(RawModel{.initializer = tensor_proto({1 << 30, 1 << 30}, 1, four)}.error(),
              HasSubstr("more than 2^40"));
  EXPECT_THAT((RawModel{.initializer = tensor_proto({0, INT64_MAX, INT64_MAX}, 1, "")}.error()),
              HasSubstr("more than 2^40"));
  EXPECT_THAT(RawModel{.initializer = tensor_proto({1 << 30}, 1, "")}.error(),
              HasSubstr("0 bytes of data"));
  EXPECT_THAT(RawModel{.initializer = tensor_proto({1}, 9, "\x02")}.error(),
              HasSubstr("a bool of 2"));
}

TEST(ReadOnnx, ExternalDataStaysBesideTheModel) {
  TemporaryFolder folder;
  const std::string inside = folder / "model";
  ASSERT_TRUE(make_directories(inside + "/sub").ok());
  ASSERT_TRUE(write_file(inside + "/sub/w.bin", "abcdef").ok());
  ASSERT_TRUE(write_file(folder / "secret", "abcdef").ok());
  fs::create_symlink(folder / "secret", inside + "/link");
  const auto error = [&](const std::string& location, const std::string& offset,
                         const std::string& length) {
    return RawModel{.initializer = external_proto(location, offset, length)}.error(inside);
  };
  EXPECT_EQ(error("sub/w.bin", "3", "3"), "read");
  for (const char* outside : {"../secret", "sub/../../secret", "link", "", "..\\secret"}) {
    EXPECT_THAT(error(outside, "0", "3"), HasSubstr("expected a file beside the model")) << outside;
  }
  EXPECT_THAT(error(folder / "secret", "0", "3"), HasSubstr("expected a file beside the model"));
  EXPECT_THAT(error("sub/none.bin", "0", "3"), HasSubstr("none.bin"));
  EXPECT_THAT(error("sub/w.bin", "4", "3"), HasSubstr("3 bytes at 4"));
  EXPECT_THAT(error("sub/w.bin", "9223372036854775807", "3"), HasSubstr("has 6"));
  EXPECT_THAT(error("sub/w.bin", "-1", "3"), HasSubstr("offset is '-1'"));
  EXPECT_THAT(error("sub/w.bin", "0", "4"), HasSubstr("external data of 4 bytes"));
  EXPECT_THAT(RawModel{.initializer = external_proto("sub/w.bin", "0", "3")}.error(""),
              HasSubstr("no folder"));
}

TEST(ReadOnnx, RefusesABrokenContract) {
  const auto error = [](const std::string& json) {
    return RawModel{.metadata_key = "pare.contract", .metadata_value = json}.error();
  };
  EXPECT_EQ(error(R"({"channels":3,"height":8,"width":8})"), "read");
  for (const char* json :
       {"", "[]", "{", R"({"height":-1})", R"({"height":1e99})", R"({"mean":["a"]})",
        R"({"std":[0,1,1]})", R"({"mean":[1,2]})", R"({"classes":[1]})", R"({"bgr":3})"}) {
    EXPECT_THAT(error(json), HasSubstr("input contract")) << json;
  }
}

TEST(ReadOnnx, EveryTruncationFailsCleanly) {
  const std::string bytes = *read_text_file(fixture_file("storage_typed.onnx"));
  int read = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    read += parse_onnx(as_bytes(bytes.substr(0, size)), "").ok() ? 1 : 0;
  }
  EXPECT_EQ(read, 0);
}

TEST(Contract, AUint8ImageSaysItsOwnSize) {
  Graph graph;
  graph.inputs = {{"input", DType::kUInt8, {kDynamic, 32, 30, 3}}};
  InputContract c = contract_from_input(graph);
  EXPECT_TRUE(c.channels_last);
  EXPECT_EQ(c.height, 32);
  EXPECT_EQ(c.width, 30);
  graph.inputs[0].shape = {kDynamic, 1, 28, 27};
  c = contract_from_input(graph);
  EXPECT_FALSE(c.channels_last);
  EXPECT_EQ(c.channels, 1);
  EXPECT_EQ(c.width, 27);
}

TEST(Opset, RaisingRewritesWhatChanged) {
  Graph graph;
  graph.opset = 17;
  graph.inputs = {{"x", DType::kFloat32, {kDynamic, 4, 6}}};
  Node mean{.op = "ReduceMean", .name = "mean", .inputs = {"x"}, .outputs = {"m"}};
  mean.attributes = {{"axes", std::vector<int64_t>{1}}, {"keepdims", int64_t{0}}};
  Node split{.op = "Split", .name = "split", .inputs = {"m"}, .outputs = {"a", "b"}};
  split.attributes = {{"axis", int64_t{1}}};
  graph.nodes = {mean, split};
  graph.outputs = {{"a", DType::kFloat32, {kDynamic, 3}}, {"b", DType::kFloat32, {kDynamic, 3}}};
  ASSERT_TRUE(check_graph(graph).ok()) << check_graph(graph).message();
  raise_opset(graph, 20);
  EXPECT_EQ(graph.opset, 20);
  EXPECT_TRUE(check_graph(graph).ok()) << check_graph(graph).message();
  EXPECT_EQ(*constant_axes(graph, graph.nodes[0]), (std::vector<int64_t>{1}));
}

}  // namespace
}  // namespace pare
