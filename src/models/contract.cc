#include "models/contract.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "graph/contract.h"

namespace pare {
namespace {

class Attacher {
 public:
  Attacher(Graph graph, const ContractOptions& options)
      : graph_(std::move(graph)), options_(options) {}

  Result<ImportedModel> run() {
    PARE_RETURN_IF_ERROR(choose_output());
    PARE_RETURN_IF_ERROR(fix_input());
    PARE_RETURN_IF_ERROR(open_batch());
    PARE_RETURN_IF_ERROR(check_numbers());
    fill_contract();
    if (!options_.keep_input) rewrite_input();
    PARE_RETURN_IF_ERROR(check_contract(graph_.contract));
    PARE_RETURN_IF_ERROR(check_graph(graph_));
    return ImportedModel{std::move(graph_), std::move(notes_)};
  }

 private:
  bool floating() const { return is_floating(graph_.inputs[0].type); }

  Status choose_output() {
    std::vector<std::string> names;
    for (const ValueInfo& v : graph_.outputs) names.push_back(v.name);
    if (options_.output.empty() && names.size() != 1) {
      return invalid_argument(
          fmt::format("the model has {} outputs ({}): say which holds the "
                      "classes with --output-name",
                      names.size(), fmt::join(names, ", ")));
    }
    if (options_.output.empty()) return ok_status();
    const auto it = std::ranges::find(names, options_.output);
    if (it == names.end()) {
      return invalid_argument(fmt::format("the model has no output '{}'; it has {}",
                                          options_.output, fmt::join(names, ", ")));
    }
    graph_.outputs = {graph_.outputs[static_cast<size_t>(it - names.begin())]};
    remove_unused(graph_);
    return ok_status();
  }

  // Where the sizes stand in the input's shape.
  size_t channel_axis() const { return options_.channels_last ? 3 : 1; }
  size_t height_axis() const { return options_.channels_last ? 1 : 2; }

  Status fix_input() {
    if (graph_.inputs.size() != 1) {
      return unsupported(
          fmt::format("the model has {} inputs: Pare runs models with one image "
                      "input",
                      graph_.inputs.size()));
    }
    ValueInfo& input = graph_.inputs[0];
    if (input.shape.size() != 4 || (!floating() && input.type != DType::kUInt8)) {
      return unsupported(
          fmt::format("input '{}' is {} of {}: expected four dimensions of floating "
                      "numbers or uint8",
                      input.name, dtype_name(input.type), shape_string(input.shape)));
    }
    PARE_RETURN_IF_ERROR(set_size(input.shape[height_axis()], options_.height, "height"));
    PARE_RETURN_IF_ERROR(set_size(input.shape[height_axis() + 1], options_.width, "width"));
    const int64_t channels = input.shape[channel_axis()];
    if (channels != 1 && channels != 3) {
      return invalid_argument(
          fmt::format("input '{}' of {} has {} channels in layout {}: expected "
                      "1 or 3",
                      input.name, shape_string(input.shape), channels,
                      options_.channels_last ? "nhwc" : "nchw"));
    }
    return ok_status();
  }

  static Status set_size(int64_t& dimension, int64_t wanted, const char* what) {
    if (dimension == kDynamic && wanted == 0) {
      return invalid_argument(
          fmt::format("the model leaves its input's {} open: give it with "
                      "--crop",
                      what));
    }
    if (dimension != kDynamic && wanted != 0 && wanted != dimension) {
      return invalid_argument(
          fmt::format("the model's input has {} {}, not {}", what, dimension, wanted));
    }
    if (dimension == kDynamic) dimension = wanted;
    return ok_status();
  }

  // A file exported for one image usually serves any number; whether it does, the shapes say.
  Status open_batch() {
    const auto serves = [this](int64_t batch) {
      const Result<ValueInfos> infos = infer_shapes(graph_, batch);
      if (!infos.ok()) return false;
      const auto it = infos->find(graph_.outputs[0].name);
      return it != infos->end() && it->second.shape.size() == 2 && it->second.shape[0] == batch;
    };
    const int64_t fixed = graph_.inputs[0].shape[0];
    graph_.inputs[0].shape[0] = kDynamic;
    if (graph_.outputs[0].shape.size() == 2) graph_.outputs[0].shape[0] = kDynamic;
    if (serves(2) && serves(3)) {
      if (fixed != kDynamic) notes_.push_back("made for any number of images at a time");
      return ok_status();
    }
    const Result<ValueInfos> infos = infer_shapes(graph_, fixed == kDynamic ? 1 : fixed);
    if (!infos.ok()) return infos.status();
    return unsupported(fmt::format(
        "output '{}' is {} for a batch of {}, and the graph holds for no other batch: expected one "
        "row of classes an image for any number of images; export it with a dynamic batch "
        "(torch.onnx.export: dynamic_axes, or dynamic_shapes with dynamo=True)",
        graph_.outputs[0].name, shape_string(infos->at(graph_.outputs[0].name).shape),
        fixed == kDynamic ? 1 : fixed));
  }

  Status check_numbers() {
    const int64_t channels = graph_.inputs[0].shape[channel_axis()];
    const bool given =
        options_.scale.has_value() || !options_.mean.empty() || !options_.std.empty();
    if (floating() && !given) {
      return invalid_argument(
          "the model takes floating numbers: say how pixels become them with --scale, --mean and "
          "--std; (pixel * scale - mean) / std, scale 1/255 unless given, for instance "
          "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225");
    }
    if (!floating() && given) {
      return invalid_argument(
          "the model takes uint8, so its scaling is inside: --scale, --mean and --std do not "
          "apply");
    }
    for (const auto* list : {&options_.mean, &options_.std}) {
      if (!list->empty() && list->size() != 1 && static_cast<int64_t>(list->size()) != channels) {
        return invalid_argument(
            fmt::format("{} values for {} channels: expected one, or one a "
                        "channel",
                        list->size(), channels));
      }
    }
    PARE_RETURN_IF_ERROR(check_finite());
    const int64_t classes = class_count();
    const auto named = static_cast<int64_t>(options_.classes.size());
    if (named != 0 && classes != named) {
      return invalid_argument(
          fmt::format("{} class names for a model of {} classes", named, classes));
    }
    return ok_status();
  }

  // NaN and infinity pass for numbers on a command line.
  Status check_finite() const {
    const float scale = options_.scale.value_or(1.0F);
    if (!(scale > 0.0F) || std::isinf(scale)) {
      return invalid_argument(fmt::format("scale {}: must be positive", scale));
    }
    for (const float m : options_.mean) {
      if (!std::isfinite(m)) return invalid_argument(fmt::format("mean {}: must be finite", m));
    }
    for (const float s : options_.std) {
      if (s > 0.0F && !std::isinf(s)) continue;
      return invalid_argument(fmt::format("standard deviation {}: must be positive", s));
    }
    return ok_status();
  }

  int64_t class_count() const {
    const Result<ValueInfos> infos = infer_shapes(graph_, 1);
    return infos.ok() ? infos->at(graph_.outputs[0].name).shape[1] : 0;
  }

  static std::vector<float> per_channel(const std::vector<float>& values, int64_t channels,
                                        float fallback) {
    if (static_cast<int64_t>(values.size()) == channels) return values;
    return std::vector<float>(static_cast<size_t>(channels), values.empty() ? fallback : values[0]);
  }

  void fill_contract() {
    const Shape& shape = graph_.inputs[0].shape;
    InputContract& c = graph_.contract;
    c.channels = shape[channel_axis()];
    c.height = shape[height_axis()];
    c.width = shape[height_axis() + 1];
    c.resize = options_.resize;
    if (!options_.classes.empty()) c.classes = options_.classes;
    for (const Node& node : graph_.nodes) {
      const bool last = !node.outputs.empty() && node.outputs[0] == graph_.outputs[0].name;
      if (last) c.outputs_probabilities = node.op == "Softmax";
    }
    c.channels_last = options_.keep_input && options_.channels_last;
    c.bgr = options_.keep_input && options_.bgr;
    c.float_input = options_.keep_input && floating();
    if (c.float_input) {
      c.scale = options_.scale.value_or(1.0F / 255.0F);
      c.mean = per_channel(options_.mean, c.channels, 0.0F);
      c.std = per_channel(options_.std, c.channels, 1.0F);
    }
  }

  // Appends a first node that reads the value so far and writes another.
  void prepend(const std::string& op, const std::vector<std::string>& constants,
               std::map<std::string, Attribute> attributes = {}) {
    Node node;
    node.op = op;
    node.name = graph_.fresh_name("preprocess." + std::to_string(first_nodes_.size() + 1));
    node.inputs = {value_};
    node.inputs.insert(node.inputs.end(), constants.begin(), constants.end());
    node.outputs = {node.name};
    node.attributes = std::move(attributes);
    value_ = node.name;
    first_nodes_.push_back(std::move(node));
  }

  std::string constant(const std::string& stem, Tensor tensor) {
    std::string name = graph_.fresh_name("preprocess." + stem);
    graph_.initializers[name] = std::move(tensor);
    return name;
  }

  void normalise(DType type, int64_t channels) {
    const float scale = options_.scale.value_or(1.0F / 255.0F);
    std::vector<float> factor = per_channel(options_.std, channels, 1.0F);
    std::vector<float> shift = per_channel(options_.mean, channels, 0.0F);
    for (size_t c = 0; c < factor.size(); ++c) {
      shift[c] = -shift[c] / factor[c];
      factor[c] = scale / factor[c];
    }
    const Shape shape = {1, channels, 1, 1};
    prepend("Cast", {},
            {{"to", int64_t{1}}});  // ONNX's numbers: 1 float32, 10 float16, 16 bfloat16
    prepend("Mul", {constant("scale", Tensor::from_values<float>(shape, factor))});
    prepend("Add", {constant("shift", Tensor::from_values<float>(shape, shift))});
    if (type == DType::kFloat16) prepend("Cast", {}, {{"to", int64_t{10}}});
    if (type == DType::kBFloat16) prepend("Cast", {}, {{"to", int64_t{16}}});
    if (type == DType::kFloat64) prepend("Cast", {}, {{"to", int64_t{11}}});
  }

  void rewrite_input() {
    const ValueInfo old = graph_.inputs[0];
    const InputContract& c = graph_.contract;
    if (!floating() && !options_.channels_last && !options_.bgr) return;
    value_ = graph_.fresh_name("image");
    graph_.inputs[0] = {value_, DType::kUInt8, {kDynamic, c.channels, c.height, c.width}};
    if (options_.bgr && c.channels == 3) {
      const std::string order =
          constant("order", Tensor::from_values<int64_t>({3}, std::vector<int64_t>{2, 1, 0}));
      prepend("Gather", {order}, {{"axis", int64_t{1}}});
    }
    if (is_floating(old.type)) normalise(old.type, c.channels);
    if (options_.channels_last) {
      prepend("Transpose", {}, {{"perm", std::vector<int64_t>{0, 2, 3, 1}}});
    }
    for (Node& node : graph_.nodes) {
      std::ranges::replace(node.inputs, old.name, value_);
    }
    graph_.nodes.insert(graph_.nodes.begin(), std::make_move_iterator(first_nodes_.begin()),
                        std::make_move_iterator(first_nodes_.end()));
  }

  Graph graph_;
  const ContractOptions& options_;
  std::vector<std::string> notes_;
  std::vector<Node> first_nodes_;
  std::string value_;  // what the next first node reads
};

}  // namespace

Result<ImportedModel> attach_contract(Graph graph, const ContractOptions& options) {
  return Attacher(std::move(graph), options).run();
}

}  // namespace pare
