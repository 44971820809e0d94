#include "graph/pare_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <optional>

#include "base/file.h"
#include "base/rng.h"
#include "graph/codec.h"
#include "graph/pare_file_layout.h"
#include "graph/pare_manifest.h"
#include "graph/pare_palette.h"
#include "graph/pare_scaled.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;
using View = std::span<const std::byte>;

// Elements of `type` that a formula gives, so that a fixture can be compared with it for ever.
Tensor formula_tensor(DType type, Shape shape, int zero_in) {
  Tensor t(type, std::move(shape));
  auto* bytes = t.mutable_data();
  const int width = coded_element_bytes(type);
  uint32_t x = 12345;
  for (int64_t i = 0; i < t.byte_count(); ++i) {
    x = x * 1664525U + 1013904223U;  // Knuth's linear congruential generator
    const bool zero = (i / width) % zero_in != 0;
    bytes[i] =
        zero ? std::byte{0} : static_cast<std::byte>(type == DType::kBool ? x >> 31 : x >> 24);
  }
  return t;
}

// Floats that are a scale times a whole number, the largest of each channel 127 times.
Tensor scaled_tensor(Shape shape, bool last_axis) {
  Tensor t(DType::kFloat32, std::move(shape));
  const std::span<float> w = t.mutable_values<float>();
  const auto columns = static_cast<size_t>(t.dim(1));
  uint32_t x = 777;
  for (size_t i = 0; i < w.size(); ++i) {
    x = x * 1664525U + 1013904223U;
    const size_t channel = last_axis ? i % columns : i / columns;
    const size_t place = last_axis ? i / columns : i % columns;
    const float scale =
        0.001F * std::sqrt(static_cast<float>(channel));  // the first channel: zeros
    const int q = place == 3 ? -127 : static_cast<int>(x >> 25) - 64;
    w[i] = scale > 0 ? scale * static_cast<float>(q) : 0.0F;
    if (place == 5) w[i] = -0.0F;
  }
  return t;
}

// Nine in ten zero, the others one of `values` numbers.
Tensor shared_tensor(DType type, Shape shape, uint32_t values) {
  Tensor t(type, std::move(shape));
  const auto width = static_cast<size_t>(dtype_bits(type) / 8);
  uint32_t x = 4321;
  for (int64_t i = 0; i < t.size(); ++i) {
    x = x * 1664525U + 1013904223U;
    if ((x >> 16) % 10 != 0) continue;
    const uint32_t bits = 0x3c003c00U + (x >> 8) % values * 0x00010001U;
    std::memcpy(t.mutable_data() + static_cast<size_t>(i) * width, &bits, width);
  }
  return t;
}

// A small network that has every element type, every kind of attribute that operators have, and
// dense, sparse, constant and tiny tensors.
Graph formula_graph() {
  Graph g;
  g.name = "formula";
  g.opset = 20;
  g.inputs = {{"input", DType::kUInt8, {kDynamic, 3, 4, 4}}};
  g.outputs = {{"logits", DType::kFloat32, {kDynamic, 5}}};
  const auto node = [&g](Node n) { g.nodes.push_back(std::move(n)); };
  node({.op = "Cast",
        .name = "cast",
        .inputs = {"input"},
        .outputs = {"x"},
        .attributes = {{"to", int64_t{1}}}});
  node({.op = "Conv",
        .name = "conv",
        .inputs = {"x", "conv.weight"},
        .outputs = {"c"},
        .attributes = {{"pads", std::vector<int64_t>{1, 1, 1, 1}},
                       {"auto_pad", std::string("NOTSET")}}});
  node({.op = "LeakyRelu",
        .name = "relu",
        .inputs = {"c"},
        .outputs = {"r"},
        .attributes = {{"alpha", 0.1F}}});
  node({.op = "Flatten", .name = "flatten", .inputs = {"r"}, .outputs = {"f"}});
  node({.op = "Gemm",
        .name = "fc",
        .inputs = {"f", "fc.weight"},
        .outputs = {"logits"},
        .attributes = {{"transB", int64_t{1}}}});
  auto& t = g.initializers;
  t["conv.weight"] = formula_tensor(DType::kFloat32, {64, 3, 3, 3}, 1);
  for (float& v : t["conv.weight"].mutable_values<float>()) v = std::isfinite(v) ? v : -0.0F;
  t["conv.weight"].mutable_values<float>()[0] = std::numeric_limits<float>::quiet_NaN();
  t["fc.weight"] = formula_tensor(DType::kFloat32, {5, 1024}, 7);
  t["unused.int8"] = formula_tensor(DType::kInt8, {40, 50}, 1);
  t["unused.int8.sparse"] = formula_tensor(DType::kInt8, {40, 500}, 10);
  t["unused.half"] = formula_tensor(DType::kFloat16, {300}, 2);
  t["unused.bfloat16"] = formula_tensor(DType::kBFloat16, {301}, 1);
  t["unused.double"] = formula_tensor(DType::kFloat64, {99}, 1);
  t["unused.int4"] = formula_tensor(DType::kInt4, {3, 333}, 3);
  t["unused.uint4"] = formula_tensor(DType::kUInt4, {7}, 1);
  t["unused.int32"] = Tensor::from_values<int32_t>({2}, std::vector<int32_t>{-1, 1 << 30});
  t["unused.int64"] = Tensor::scalar<int64_t>(std::numeric_limits<int64_t>::min());
  t["unused.bool"] = formula_tensor(DType::kBool, {600}, 1);
  t["unused.zeros"] = Tensor(DType::kFloat32, {1000});
  t["unused.empty"] = Tensor(DType::kFloat32, {0, 3});
  t["unused.scaled"] = scaled_tensor({50, 30}, false);
  t["unused.scaled.last"] = scaled_tensor({30, 50}, true);
  t["unused.shared"] = shared_tensor(DType::kFloat32, {100, 30}, 31);
  t["unused.shared.half"] = shared_tensor(DType::kFloat16, {3000}, 7);
  t["unused.uint16"] = formula_tensor(DType::kUInt16, {4}, 1);
  t["unused.int16"] = formula_tensor(DType::kInt16, {4}, 1);
  t["unused.uint8"] = formula_tensor(DType::kUInt8, {4}, 1);
  g.contract = {.channels = 3,
                .height = 4,
                .width = 4,
                .channels_last = false,
                .bgr = true,
                .resize = 5,
                .float_input = false,
                .scale = 0.5F,
                .mean = {0.1F, 0.2F, 0.3F},
                .std = {1, 2, 3},
                .outputs_probabilities = true,
                .classes = {"a", "b", "c", "d", "e with ünïcode"}};
  g.metadata = {{"trained", "never"}, {"", "an empty key"}};
  return g;
}

void expect_same_tensors(const Graph& a, const Graph& b) {
  ASSERT_EQ(a.initializers.size(), b.initializers.size());
  for (const auto& [name, x] : a.initializers) {
    ASSERT_TRUE(b.initializers.contains(name)) << name;
    const Tensor& y = b.initializers.at(name);
    ASSERT_EQ(x.type(), y.type()) << name;
    ASSERT_EQ(x.shape(), y.shape()) << name;
    if (x.byte_count() > 0) {
      EXPECT_EQ(std::memcmp(x.data(), y.data(), static_cast<size_t>(x.byte_count())), 0) << name;
    }
  }
}

void expect_same(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.opset, b.opset);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.contract, b.contract);
  EXPECT_EQ(a.metadata, b.metadata);
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    EXPECT_EQ(a.nodes[i].op, b.nodes[i].op);
    EXPECT_EQ(a.nodes[i].domain, b.nodes[i].domain);
    EXPECT_EQ(a.nodes[i].name, b.nodes[i].name);
    EXPECT_EQ(a.nodes[i].inputs, b.nodes[i].inputs);
    EXPECT_EQ(a.nodes[i].outputs, b.nodes[i].outputs);
    EXPECT_EQ(a.nodes[i].ints_attribute("pads"), b.nodes[i].ints_attribute("pads"));
    EXPECT_EQ(a.nodes[i].string_attribute("auto_pad", ""),
              b.nodes[i].string_attribute("auto_pad", ""));
    EXPECT_EQ(a.nodes[i].float_attribute("alpha", 0), b.nodes[i].float_attribute("alpha", 0));
    EXPECT_EQ(a.nodes[i].int_attribute("transB", 0), b.nodes[i].int_attribute("transB", 0));
    EXPECT_EQ(a.nodes[i].attributes.size(), b.nodes[i].attributes.size());
  }
  expect_same_tensors(a, b);
}

Bytes written(const Graph& graph, const PareWriteOptions& options = {}) {
  const testing_files::TemporaryFolder folder;
  const Status status = write_pare(graph, folder.path("x.pare"), options);
  EXPECT_TRUE(status.ok()) << status.message();
  Result<Bytes> bytes = read_file(folder.path("x.pare"), 1 << 30);
  return bytes.ok() ? *std::move(bytes) : Bytes();
}

Result<Graph> parsed(const Bytes& bytes, const PareReadOptions& options = {.threads = 1}) {
  const std::shared_ptr<std::byte> copy(
      static_cast<std::byte*>(std::aligned_alloc(64, align_up(bytes.size() + 1))), std::free);
  std::copy(bytes.begin(), bytes.end(), copy.get());
  return parse_pare(copy, bytes.size(), "x.pare", options);
}

TEST(PareFile, GivesBackEveryBit) {
  const Graph graph = formula_graph();
  for (const bool uncoded : {false, true}) {
    const Result<Graph> back = parsed(written(graph, {.uncoded = uncoded}));
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_same(graph, *back);
  }
}

// Several chunks, decoded by several threads, cut at a chunk's edge and one element before and
// behind it.
// Any scale, also where 127 · scale / 127 rounds to another number than scale.
TEST(PareFile, FindsTheScaleOfRoundedWeights) {
  Rng rng(4, RngPurpose::kTest);
  for (int round = 0; round < 2000; ++round) {
    const float scale = std::ldexp(rng.uniform(0.5F, 1.0F), static_cast<int>(rng.below(60)) - 40);
    Tensor t(DType::kFloat32, {1, 100});
    const auto w = t.mutable_values<float>();
    for (float& v : w) v = scale * static_cast<float>(static_cast<int>(rng.below(255)) - 127);
    w[50] = scale * 127;
    w[static_cast<size_t>(round % 50)] = -0.0F;
    const std::optional<ScaledTensor> found = find_scaled(t);
    ASSERT_TRUE(found.has_value()) << scale;
    std::vector<float> back(100);
    restore_scaled({found->values.data(), 100}, found->last_axis, found->scales, 0, 100, back);
    ASSERT_EQ(std::memcmp(back.data(), w.data(), 400), 0);
  }
  Tensor other(DType::kFloat32, {2, 3});
  other.mutable_values<float>()[1] = 1;
  other.mutable_values<float>()[2] = 0.3F;
  other.mutable_values<float>()[3] = 0.7F;
  other.mutable_values<float>()[4] = 0.123F;
  EXPECT_FALSE(find_scaled(other).has_value());
}

TEST(PareFile, RoundedWeightsTakeAByteEach) {
  Graph graph = formula_graph();
  const size_t before = written(graph).size();
  graph.initializers["big"] = scaled_tensor({300, 1000}, false);
  const size_t after = written(graph).size();
  EXPECT_LT(after - before, 300'000U);  // 7 bits of 128 values, scales and tables
  const Result<Graph> back = parsed(written(graph), {.threads = 2});
  ASSERT_TRUE(back.ok()) << back.status().message();
  expect_same_tensors(graph, *back);
}

TEST(PareFile, APaletteHasZeroFirstAndKeepsEveryBit) {
  const float nan = std::bit_cast<float>(0x7fc12345U);
  Tensor t = Tensor::from_values<float>({2, 3}, std::vector<float>{1.5F, -0.0F, nan, 0, 1.5F, -2});
  const std::optional<PaletteTensor> palette = find_palette(t);
  ASSERT_TRUE(palette.has_value());
  EXPECT_THAT(palette->indices.values<uint8_t>(), testing::ElementsAre(1, 3, 2, 0, 1, 4));
  std::vector<std::byte> back(24);
  const View indices = {palette->indices.data(), 6};
  ASSERT_TRUE(restore_palette(indices, palette->values, 4, back).ok());
  EXPECT_EQ(std::memcmp(back.data(), t.data(), 24), 0);
  const View too_few = View(palette->values).first(16);
  EXPECT_EQ(restore_palette(indices, too_few, 4, back).message(),
            "element 5 of a chunk has value 4 of a palette of 4");
}

TEST(PareFile, APaletteHasAtMost256Values) {
  Tensor t(DType::kFloat32, {257});
  for (size_t i = 0; i < 257; ++i)
    t.mutable_values<float>()[i] = static_cast<float>(i == 256 ? 0 : i);
  EXPECT_TRUE(find_palette(t).has_value());
  t.mutable_values<float>()[256] = -1;
  EXPECT_FALSE(find_palette(t).has_value());
  EXPECT_FALSE(find_palette(Tensor(DType::kInt32, {3})).has_value());
}

// 2^18 elements and more, a tenth of them one of 31 values: 0.47 bits an element for where they
// are (the entropy of a tenth), 5 / 10 for which.
TEST(PareFile, SharedWeightsTakeTheirEntropy) {
  Graph graph = formula_graph();
  const size_t before = written(graph).size();
  graph.initializers["big"] = shared_tensor(DType::kFloat32, {300, 1000}, 31);
  const size_t after = written(graph).size();
  EXPECT_LT(after - before, static_cast<size_t>(1.05 * 300'000 * (0.469 + 0.4954) / 8));
  const Result<Graph> back = parsed(written(graph), {.threads = 2});
  ASSERT_TRUE(back.ok()) << back.status().message();
  expect_same_tensors(graph, *back);
}

TEST(PareFile, GivesBackTensorsOfSeveralChunks) {
  for (const int64_t extra : {-1, 0, 1}) {
    Graph graph = formula_graph();
    graph.initializers["big"] =
        formula_tensor(DType::kFloat16, {3 * kCodecChunkElements + extra}, 1);
    graph.initializers["sparse"] =
        formula_tensor(DType::kInt8, {2 * kCodecChunkElements + extra}, 13);
    const Result<Graph> back = parsed(written(graph), {.threads = 3});
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_same_tensors(graph, *back);
  }
}

TEST(PareFile, TheSameGraphGivesTheSameFile) {
  EXPECT_TRUE(written(formula_graph(), {.threads = 1}) == written(formula_graph(), {.threads = 3}));
}

TEST(PareFile, UncodedTensorsRestOnTheMappedFile) {
  const testing_files::TemporaryFolder folder;
  const Graph graph = formula_graph();
  ASSERT_TRUE(write_pare(graph, folder.path("x.pare"), {.uncoded = true}).ok());
  const Result<MappedFile> file = MappedFile::open(folder.path("x.pare"));
  ASSERT_TRUE(file.ok());
  const Result<Graph> back = parse_pare(file->data(), file->bytes().size(), "x.pare");
  ASSERT_TRUE(back.ok()) << back.status().message();
  const std::byte* weight = back->initializers.at("fc.weight").data();
  EXPECT_GE(weight, file->bytes().data());
  EXPECT_LT(weight, file->bytes().data() + file->bytes().size());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(weight) % 64, 0U);
}

TEST(PareFile, AFileOfTheFirstVersionStillLoads) {
  const Result<Graph> graph = read_pare(testing_files::fixture_path("pare/version-1.pare"));
  ASSERT_TRUE(graph.ok()) << graph.status().message();
  expect_same(formula_graph(), *graph);
}

// How that file was made: --gtest_also_run_disabled_tests --gtest_filter='*WriteFixture' writes it
// to the folder it is run in. read_pare.py beside it reads it by the description alone.
TEST(PareFile, DISABLED_WriteFixture) {
  ASSERT_TRUE(write_pare(formula_graph(), "version-1.pare").ok());
}

// A checksum covers every byte, so no change goes unnoticed.
TEST(PareFile, EveryChangedByteIsNoticed) {
  const Bytes bytes = written(formula_graph());
  for (size_t at = 0; at < bytes.size(); ++at) {
    Bytes damaged = bytes;
    damaged[at] ^= std::byte{0x10};
    EXPECT_FALSE(parsed(damaged).ok()) << "byte " << at << " of " << bytes.size();
  }
}

TEST(PareFile, EveryTruncationIsNoticed) {
  const Bytes bytes = written(formula_graph());
  for (size_t size = 0; size < bytes.size(); size += size < 200 ? 1 : 37) {
    const Result<Graph> graph =
        parsed(Bytes(bytes.begin(), bytes.begin() + static_cast<long>(size)));
    EXPECT_EQ(graph.status().code(), StatusCode::kCorrupt) << size;
  }
}

// A hostile writer makes its checksums right: sections as they are, a manifest of one's own.
Bytes with_manifest(const Bytes& file, const Bytes& manifest) {
  PareFooter footer;
  std::memcpy(&footer, file.data() + file.size() - sizeof(footer), sizeof(footer));
  Bytes out(file.begin(), file.begin() + static_cast<long>(footer.manifest_offset));
  out.insert(out.end(), manifest.begin(), manifest.end());
  footer.manifest_stored = footer.manifest_bytes = manifest.size();
  footer.manifest_hash = XXH3_64bits(manifest.data(), manifest.size());
  footer.hash = footer_hash(std::span<const std::byte>(out).first(kPareHeaderBytes), footer);
  const auto end = std::as_bytes(std::span(&footer, 1));
  out.insert(out.end(), end.begin(), end.end());
  return out;
}

Bytes manifest_of(const Bytes& file) {
  PareFooter footer;
  std::memcpy(&footer, file.data() + file.size() - sizeof(footer), sizeof(footer));
  Bytes manifest(footer.manifest_bytes);
  EXPECT_EQ(ZSTD_decompress(manifest.data(), manifest.size(), file.data() + footer.manifest_offset,
                            footer.manifest_stored),
            manifest.size());
  return manifest;
}

TEST(PareFile, AHostileManifestIsRefusedOrRead) {
  const Bytes file = written(formula_graph());
  const Bytes manifest = manifest_of(file);
  ASSERT_TRUE(parsed(with_manifest(file, manifest)).ok());
  int refused = 0;
  for (size_t at = 0; at < manifest.size(); ++at) {
    for (const int flip : {1, 0x80, 0xff}) {
      Bytes damaged = manifest;
      damaged[at] ^= static_cast<std::byte>(flip);
      // Some changes make another sound graph, a name for instance; none may crash or take more
      // than the bound.
      const auto graph =
          parsed(with_manifest(file, damaged), {.threads = 1, .max_decoded_bytes = 1 << 20});
      refused += graph.ok() ? 0 : 1;
    }
    const Bytes cut(manifest.begin(), manifest.begin() + static_cast<long>(at));
    EXPECT_FALSE(parsed(with_manifest(file, cut)).ok()) << at;
  }
  EXPECT_GT(refused, 0);
}

// Applies `change` to the entry of one tensor and returns the reader's message.
std::string message_for(const std::string& tensor, const std::function<void(PareTensor&)>& change) {
  const Bytes file = written(formula_graph());
  Result<PareManifest> manifest = read_manifest(manifest_of(file));
  EXPECT_TRUE(manifest.ok()) << manifest.status().message();
  for (PareTensor& t : manifest->tensors) {
    if (t.name == tensor) change(t);
  }
  const Bytes changed = write_manifest(manifest->graph, manifest->tensors);
  return parsed(with_manifest(file, changed), {.threads = 1, .max_decoded_bytes = 1 << 20})
      .status()
      .message();
}

TEST(PareFile, SizesAreCheckedBeforeMemoryIsTaken) {
  EXPECT_THAT(message_for("fc.weight",
                          [](PareTensor& t) {
                            t.shape = {1 << 20, 1 << 19};
                          }),
              HasSubstr("x.pare: tensor 'fc.weight': 2097152 chunks do not fit"));
  EXPECT_THAT(message_for("fc.weight",
                          [](PareTensor& t) {
                            t.shape = {1 << 21, 1 << 21};
                          }),
              HasSubstr("more than 2^40 elements"));
  EXPECT_THAT(message_for("fc.weight",
                          [](PareTensor& t) {
                            t.shape = {-5, 1024};
                          }),
              HasSubstr("negative dimension"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.shape = Shape(65, 1); }),
              HasSubstr("65 dimensions"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.offset += 64; }),
              HasSubstr("expected it at"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.stored_bytes = uint64_t{1} << 60; }),
              HasSubstr("a section of 1152921504606846976 bytes"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.hash ^= 1; }),
              HasSubstr("the checksum of its section is wrong"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.storage = PareStorage::kRaw; }),
              HasSubstr("takes 20480 bytes"));
  EXPECT_THAT(message_for("fc.weight", [](PareTensor& t) { t.name = "conv.weight"; }),
              HasSubstr("is there twice"));
  EXPECT_THAT(message_for("unused.scaled",
                          [](PareTensor& t) {
                            t.shape = {30, 50};
                          }),
              HasSubstr("50 scales along axis 0 do not fit 30x50"));
  EXPECT_THAT(message_for("unused.scaled", [](PareTensor& t) { t.type = DType::kInt32; }),
              HasSubstr("scaled storage does not go with int32"));
  EXPECT_THAT(message_for("unused.shared", [](PareTensor& t) { t.type = DType::kInt32; }),
              HasSubstr("a palette does not go with int32"));
  EXPECT_THAT(
      message_for("unused.scaled", [](PareTensor& t) { t.storage = PareStorage::kPalette; }),
      HasSubstr("a palette of 0 values"));
  EXPECT_THAT(message_for("unused.shared", [](PareTensor& t) { t.type = DType::kFloat16; }),
              HasSubstr("chunk"));
}

// Changes bytes of a tensor's section, with checksums that fit, and returns the reader's message.
std::string message_for_section(const std::string& tensor,
                                const std::function<void(std::span<std::byte>)>& change) {
  Bytes file = written(formula_graph());
  Result<PareManifest> manifest = read_manifest(manifest_of(file));
  EXPECT_TRUE(manifest.ok()) << manifest.status().message();
  for (PareTensor& t : manifest->tensors) {
    if (t.name != tensor) continue;
    EXPECT_EQ(t.storage, PareStorage::kPalette);
    const std::span<std::byte> section = std::span(file).subspan(t.offset, t.stored_bytes);
    change(section);
    t.hash = XXH3_64bits(section.data(), section.size());
  }
  return parsed(with_manifest(file, write_manifest(manifest->graph, manifest->tensors)))
      .status()
      .message();
}

TEST(PareFile, AHostilePaletteIsRefused) {
  const auto with_count = [](uint32_t count) {
    return message_for_section("unused.shared", [count](std::span<std::byte> section) {
      std::memcpy(section.data(), &count, 4);
    });
  };
  EXPECT_THAT(with_count(0), HasSubstr("a palette of 0 values"));
  EXPECT_THAT(with_count(257), HasSubstr("a palette of 257 values"));
  EXPECT_THAT(with_count(0xffffffffU), HasSubstr("a palette of 4294967295 values"));
  EXPECT_THAT(with_count(256), HasSubstr("a palette of 256 values"));  // more than the section has
  EXPECT_THAT(with_count(31), HasSubstr("chunk"));  // the indices begin a value too soon
  // An index that no value stands for.
  const std::vector<std::byte> values(4);
  const std::vector<std::byte> indices = {std::byte{0}, std::byte{1}};
  std::vector<std::byte> out(8);
  EXPECT_THAT(restore_palette(indices, values, 4, out).message(),
              HasSubstr("value 1 of a palette of 1"));
}

TEST(PareFile, AContractOutOfRangeIsRefused) {
  const auto message = [](const std::function<void(InputContract&)>& change) {
    Graph graph = formula_graph();
    change(graph.contract);
    return parsed(written(graph)).status().message();
  };
  EXPECT_THAT(message([](InputContract& c) { c.resize = INT64_MAX; }),
              HasSubstr("input contract: 'resize' is 9223372036854775807"));
  EXPECT_THAT(message([](InputContract& c) { c.height = -4; }), HasSubstr("'height' is -4"));
  EXPECT_THAT(message([](InputContract& c) { c.mean = {0.5F}; }),
              HasSubstr("1 values of 'mean' for 3 channels"));
  EXPECT_THAT(message([](InputContract& c) { c.std[1] = 0; }), HasSubstr("'std' holds 0"));
  EXPECT_THAT(message([](InputContract& c) { c.scale = NAN; }), HasSubstr("'scale' is nan"));
}

TEST(PareFile, DecodedTensorsStayWithinTheBound) {
  Graph graph = formula_graph();
  graph.initializers["zeros"] = Tensor(DType::kFloat32, {1 << 20});
  const Bytes file = written(graph);
  EXPECT_LT(file.size(), 100'000U);
  const Result<Graph> refused = parsed(file, {.threads = 1, .max_decoded_bytes = 1 << 20});
  EXPECT_EQ(refused.status().code(), StatusCode::kOutOfMemory);
  EXPECT_TRUE(parsed(file, {.threads = 1, .max_decoded_bytes = 1 << 23}).ok());
}

TEST(PareFile, OtherFilesAndNewerOnesAreNamed) {
  EXPECT_THAT(parsed(Bytes(500)).status().message(), HasSubstr("x.pare: not a .pare file"));
  EXPECT_THAT(parsed({}).status().message(), HasSubstr("not a .pare file"));
  Bytes newer = written(formula_graph());
  newer[8] = std::byte{2};
  EXPECT_EQ(parsed(newer).status().code(), StatusCode::kUnsupported);
  EXPECT_THAT(parsed(newer).status().message(),
              HasSubstr("format version 2: this Pare reads up to"));
  EXPECT_EQ(read_pare("/no/such/file.pare").status().code(), StatusCode::kNotFound);
}

TEST(PareFile, AnUnwritableFolderIsNamedAndNothingIsLeft) {
  const Status status = write_pare(formula_graph(), "/no/such/folder/x.pare");
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr("/no/such/folder/x.pare"));
}

}  // namespace
}  // namespace pare
