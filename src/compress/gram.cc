#include "compress/gram.h"

#include <fmt/format.h>

#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <set>
#include <span>
#include <utility>

#include "base/thread_pool.h"
#include "compress/calibrate.h"
#include "graph/window.h"

namespace pare {
namespace {

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Sums of so many float32 products are good to 5e-6 of their root mean square (2^-24 times the
// square root of the count), far below the damping of a hundredth that they get.
constexpr int64_t kChunkRows = 2048;
// Columns of a task: the strip's products fill the second-level cache, and k = 4096 makes 16 tasks.
constexpr int64_t kStripColumns = 256;

// A layer's reading of a value: which statistics it adds to, and how.
struct Reading {
  const WeightLayer* layer = nullptr;
  const Node* node = nullptr;
  InputStatistics* into = nullptr;
  int64_t kernel_h = 0;
  int64_t kernel_w = 0;
};

// Adds rows [count × k] to the statistics of one group.
void add_rows(const float* rows, int64_t count, int64_t group, InputStatistics& into,
              ThreadPool& pool) {
  const int64_t k = into.shape.k;
  const Eigen::Map<const Rows> x(rows, count, k);
  double* squares = into.squares.data() + group * k;
  double* gram = into.gram.empty() ? nullptr : into.gram[static_cast<size_t>(group)].data();
  pool.run((k + kStripColumns - 1) / kStripColumns, [&](int64_t strip, int) {
    const int64_t first = strip * kStripColumns;
    const int64_t width = std::min(kStripColumns, k - first);
    for (int64_t r = 0; r < count; ++r)
      for (int64_t c = first; c < first + width; ++c)
        squares[c] += static_cast<double>(x(r, c)) * static_cast<double>(x(r, c));
    if (gram == nullptr) return;
    Rows sums(width, k - first);
    sums.noalias() = x.middleCols(first, width).transpose() * x.rightCols(k - first);
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = i; j < k - first; ++j) gram[(first + i) * k + first + j] += sums(i, j);
  });
}

struct Patches {
  const float* src = nullptr;  // N × C × H × W
  int64_t channels = 0;        // C
  int64_t height = 0;
  int64_t width = 0;
  Window window;
  int64_t first_channel = 0;
  int64_t group_channels = 0;
};

// What lies under the window at position `at` (image, then row, then column).
void fill_patch(const Patches& p, int64_t at, float* dst) {
  const Window& w = p.window;
  const int64_t image = at / (w.out_h * w.out_w);
  const int64_t top = at / w.out_w % w.out_h * w.stride_h - w.pad_top;
  const int64_t left = at % w.out_w * w.stride_w - w.pad_left;
  for (int64_t c = 0; c < p.group_channels; ++c) {
    const float* plane = p.src + (image * p.channels + p.first_channel + c) * p.height * p.width;
    for (int64_t i = 0; i < w.kernel_h; ++i) {
      const int64_t y = top + i * w.dilation_h;
      for (int64_t j = 0; j < w.kernel_w; ++j) {
        const int64_t x = left + j * w.dilation_w;
        const bool inside = y >= 0 && y < p.height && x >= 0 && x < p.width;
        *dst++ = inside ? plane[y * p.width + x] : 0.0F;
      }
    }
  }
}

Status add_convolution(const Reading& reading, const Tensor& value, ThreadPool& pool) {
  InputStatistics& into = *reading.into;
  const WeightMatrix& shape = into.shape;
  Patches patches;
  PARE_ASSIGN_OR_RETURN(patches.window, resolve_window(*reading.node, value.shape(),
                                                       reading.kernel_h, reading.kernel_w));
  patches.src = value.values<float>().data();
  patches.channels = value.dim(1);
  patches.height = value.dim(2);
  patches.width = value.dim(3);
  patches.group_channels = shape.channels();
  const int64_t positions = value.dim(0) * patches.window.out_h * patches.window.out_w;
  std::vector<float> rows(static_cast<size_t>(std::min(positions, kChunkRows) * shape.k));
  for (int64_t g = 0; g < shape.groups; ++g) {
    patches.first_channel = g * patches.group_channels;
    for (int64_t from = 0; from < positions; from += kChunkRows) {
      const int64_t count = std::min(kChunkRows, positions - from);
      constexpr int64_t kTaskRows = 64;
      pool.run((count + kTaskRows - 1) / kTaskRows, [&](int64_t task, int) {
        const int64_t last = std::min(count, (task + 1) * kTaskRows);
        for (int64_t r = task * kTaskRows; r < last; ++r)
          fill_patch(patches, from + r, rows.data() + r * shape.k);
      });
      add_rows(rows.data(), count, g, into, pool);
    }
  }
  into.rows += positions;
  return ok_status();
}

Status add_value(const Reading& reading, const Tensor& value, ThreadPool& pool) {
  if (value.type() != DType::kFloat32)
    return unsupported(fmt::format("layer '{}' reads '{}' as {}, expected float32",
                                   reading.layer->name, reading.layer->input,
                                   dtype_name(value.type())));
  if (reading.layer->op == "Conv") return add_convolution(reading, value, pool);
  InputStatistics& into = *reading.into;
  const int64_t k = into.shape.k;
  const int64_t count = value.size() / k;
  for (int64_t from = 0; from < count; from += kChunkRows)
    add_rows(value.values<float>().data() + from * k, std::min(kChunkRows, count - from), 0, into,
             pool);
  into.rows += count;
  return ok_status();
}

Result<Reading> reading_of(const Graph& graph, const WeightLayer& layer) {
  Reading reading;
  reading.layer = &layer;
  reading.node = &graph.nodes[static_cast<size_t>(layer.node)];
  const auto refuse = [&layer](const std::string& why) {
    return unsupported(fmt::format("layer '{}' ({}): {}", layer.name, layer.op, why));
  };
  if (graph.find_initializer(layer.input) != nullptr)
    return refuse("its input is a constant, so no images say what it multiplies");
  if (reading.node->int_attribute("transA", 0) != 0)
    return refuse("its input is transposed (transA), expected one row an image");
  if (layer.op == "Conv") {
    const Tensor& weight = *graph.find_initializer(layer.weight);
    if (weight.rank() != 4)
      return refuse(fmt::format("statistics need a two-dimensional convolution, found weights {}",
                                shape_string(weight.shape())));
    reading.kernel_h = weight.dim(2);
    reading.kernel_w = weight.dim(3);
  }
  return reading;
}

int64_t statistics_bytes(const WeightMatrix& shape, bool with_gram) {
  return shape.groups * shape.k * (1 + (with_gram ? shape.k : 0)) *
         static_cast<int64_t>(sizeof(double));
}

InputStatistics empty_statistics(const WeightMatrix& shape, bool with_gram) {
  InputStatistics statistics;
  statistics.shape = shape;
  statistics.squares.assign(static_cast<size_t>(shape.groups * shape.k), 0.0);
  if (with_gram)
    statistics.gram.assign(static_cast<size_t>(shape.groups),
                           std::vector<double>(static_cast<size_t>(shape.k * shape.k), 0.0));
  return statistics;
}

Status check_finite(const WeightLayer& layer, const InputStatistics& statistics) {
  for (const double s : statistics.squares)
    if (!std::isfinite(s))
      return numeric_error(
          fmt::format("value '{}', the input of layer '{}', holds NaN or infinite elements (or its "
                      "squares' sum is not finite) on the calibration images",
                      layer.input, layer.name));
  return ok_status();
}

using Statistics = std::map<std::string, InputStatistics>;

// One pass over the images for all of `weights`.
Result<Statistics> gather(const Graph& graph, const std::set<std::string>& weights, bool with_gram,
                          const Dataset& images, const CompressContext& context) {
  const std::vector<WeightLayer> layers = find_weight_layers(graph);
  Statistics all;
  std::map<std::string, std::vector<Reading>> readings;
  for (const WeightLayer& layer : layers) {
    if (!weights.contains(layer.weight)) continue;
    PARE_ASSIGN_OR_RETURN(Reading reading, reading_of(graph, layer));
    if (with_gram) PARE_RETURN_IF_ERROR(check_gram(graph, layer));
    const WeightMatrix shape = weight_matrix(graph, layer);
    const auto [found, added] = all.try_emplace(layer.weight);
    if (added) found->second = empty_statistics(shape, with_gram);
    if (!(found->second.shape == shape))
      return unsupported(
          fmt::format("weight '{}' is read in two layouts, by '{}' and by a layer before it",
                      layer.weight, layer.name));
    reading.into = &found->second;
    readings[layer.input].push_back(reading);
  }
  ThreadPool pool(context.threads > 0 ? context.threads : available_cores());
  ForwardOptions options;
  options.batch_size = context.batch_size;
  options.threads = context.threads;
  for (const auto& [input, readers] : readings) options.keep.push_back(input);
  options.show = [&](const std::string& name, const Tensor& value) -> Status {
    for (const Reading& reading : readings.at(name))
      PARE_RETURN_IF_ERROR(add_value(reading, value, pool));
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(forward(graph, images, options).status());
  for (const WeightLayer& layer : layers)
    if (weights.contains(layer.weight))
      PARE_RETURN_IF_ERROR(check_finite(layer, all.at(layer.weight)));
  return all;
}

}  // namespace

Status check_gram(const Graph& graph, const WeightLayer& layer) {
  PARE_RETURN_IF_ERROR(reading_of(graph, layer).status());
  const int64_t k = weight_matrix(graph, layer).k;
  if (k <= kMaxGramInputs) return ok_status();
  return unsupported(fmt::format("layer '{}': a Gram matrix of {} inputs, at most {} are gathered",
                                 layer.name, k, kMaxGramInputs));
}

InputSource::InputSource(const Graph& graph, std::vector<std::string> weights,
                         std::shared_ptr<const Dataset> images, const CompressContext& context,
                         Kind kind, int64_t max_bytes)
    : graph_(graph),
      weights_(std::move(weights)),
      images_(std::move(images)),
      context_(context),
      kind_(kind),
      max_bytes_(max_bytes) {}

Result<const InputStatistics*> InputSource::at(const std::string& weight) {
  const auto found = held_.find(weight);
  if (found != held_.end()) return &found->second;
  held_.clear();
  std::map<std::string, int64_t> bytes;
  for (const WeightLayer& layer : find_weight_layers(graph_))
    bytes[layer.weight] = statistics_bytes(weight_matrix(graph_, layer), kind_ == Kind::kGram);
  const auto first = std::find(weights_.begin(), weights_.end(), weight);
  if (first == weights_.end() || !bytes.contains(weight))
    return internal_error(fmt::format("no statistics were asked for of weight '{}'", weight));
  std::set<std::string> group;
  int64_t total = 0;
  for (auto next = first; next != weights_.end(); ++next) {
    total += bytes[*next];
    if (!group.empty() && total > max_bytes_) break;
    group.insert(*next);
  }
  context_.say(fmt::format("inputs of {} layer{} from '{}' on, {} images", group.size(),
                           group.size() == 1 ? "" : "s", weight, images_->size()));
  PARE_ASSIGN_OR_RETURN(held_, gather(graph_, group, kind_ == Kind::kGram, *images_, context_));
  ++passes_;
  return &held_.at(weight);
}

}  // namespace pare
