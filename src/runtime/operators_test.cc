// Every operator against what ONNX Runtime answers (tests/fixtures/make_op_cases.py), by the
// reference kernels and by the fast ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/file.h"
#include "graph/onnx.h"
#include "runtime/executor.h"
#include "runtime/planner.h"
#include "testing/compare.h"
#include "testing/files.h"

namespace pare {
namespace {

struct OpCase {
  std::string name;
  bool exact = false;
  Graph graph;
  std::vector<Tensor> inputs;
  std::vector<std::vector<std::byte>> outputs;
};

class Reader {
 public:
  explicit Reader(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  template <typename T>
  T number() {
    T v{};
    std::memcpy(&v, take(sizeof(T)).data(), sizeof(T));
    return v;
  }
  std::span<const std::byte> take(size_t n) {
    const auto part = std::span<const std::byte>(bytes_).subspan(at_, n);
    at_ += n;
    return part;
  }

 private:
  std::vector<std::byte> bytes_;
  size_t at_ = 0;
};

std::vector<OpCase> read_cases() {
  auto bytes = read_file(testing_files::fixture_path("runtime/op_cases.bin"), 1 << 24);
  EXPECT_TRUE(bytes.ok()) << bytes.status().message();
  Reader reader(*std::move(bytes));
  reader.take(8);
  std::vector<OpCase> cases(reader.number<uint32_t>());
  for (OpCase& c : cases) {
    const auto name = reader.take(reader.number<uint32_t>());
    c.name.assign(reinterpret_cast<const char*>(name.data()), name.size());
    c.exact = reader.number<uint32_t>() != 0;
    auto graph = parse_onnx(reader.take(reader.number<uint64_t>()), "");
    EXPECT_TRUE(graph.ok()) << c.name << ": " << graph.status().message();
    c.graph = *std::move(graph);
    const auto inputs = reader.number<uint32_t>();
    for (uint32_t i = 0; i < inputs; ++i) {
      const auto raw = reader.take(reader.number<uint64_t>());
      Tensor t(c.graph.inputs[i].type, c.graph.inputs[i].shape);
      EXPECT_EQ(static_cast<size_t>(t.byte_count()), raw.size()) << c.name;
      std::memcpy(t.mutable_data(), raw.data(), raw.size());
      c.inputs.push_back(std::move(t));
    }
    const auto outputs = reader.number<uint32_t>();
    for (uint32_t i = 0; i < outputs; ++i) {
      const auto raw = reader.take(reader.number<uint64_t>());
      c.outputs.emplace_back(raw.begin(), raw.end());
    }
  }
  return cases;
}

// Sums in these cases have at most 108 products of numbers up to 3; everything else is elementwise.
// A wrong formula is off by far more.
constexpr float kAbsolute = 108 * 9 * 4 * 0x1p-23F;
constexpr float kRelative = 32 * 0x1p-23F;

void expect_same(const OpCase& c, size_t i, const Tensor& got) {
  const std::vector<std::byte>& want = c.outputs[i];
  ASSERT_EQ(static_cast<size_t>(got.byte_count()), want.size());
  if (c.exact || got.type() != DType::kFloat32) {
    EXPECT_TRUE(std::equal(want.begin(), want.end(), got.data()))
        << "output " << i << " of " << shape_string(got.shape());
    return;
  }
  const auto* w = reinterpret_cast<const float*>(want.data());
  const auto g = got.values<float>();
  for (size_t k = 0; k < g.size(); ++k) {
    ASSERT_NEAR(g[k], w[k], kAbsolute + kRelative * std::fabs(w[k])) << "element " << k;
  }
}

void run_case(const OpCase& c, const ExecutorOptions& options) {
  auto executor = Executor::create(c.graph, options);
  ASSERT_TRUE(executor.ok()) << executor.status().message();
  auto outputs = executor->run(c.inputs);
  ASSERT_TRUE(outputs.ok()) << outputs.status().message();
  ASSERT_EQ(outputs->size(), c.outputs.size());
  for (size_t i = 0; i < outputs->size(); ++i) expect_same(c, i, (*outputs)[i]);
}

TEST(Operators, AgreeWithOnnxRuntime) {
  for (const OpCase& c : read_cases()) {
    SCOPED_TRACE(c.name);
    run_case(c, {.threads = 2});
    run_case(c, {.threads = 1, .reference_kernels = true});
    run_case(c, {.threads = 2, .cpu_level = "baseline"});
    run_case(c, {.threads = 2, .keep_all = true});
    if (HasFatalFailure()) return;
  }
}

// The passes and constant folding change no answer.
TEST(Operators, AgreeWhenPrepared) {
  for (const OpCase& c : read_cases()) {
    SCOPED_TRACE(c.name);
    OpCase prepared = c;
    auto graph = prepare_graph(c.graph);
    ASSERT_TRUE(graph.ok()) << graph.status().message();
    prepared.graph = *std::move(graph);
    prepared.exact = false;
    run_case(prepared, {.threads = 2});
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace pare
