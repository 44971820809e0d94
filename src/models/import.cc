#include "models/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "graph/cost.h"
#include "models/weight_names.h"

namespace pare {
namespace {

constexpr size_t kNamesShown = 8;

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), kNamesShown); ++i) {
    text += (i == 0 ? "" : ", ") + names[i];
  }
  if (names.size() > kNamesShown) {
    text += fmt::format(" and {} more", names.size() - kNamesShown);
  }
  return text;
}

// Rows and columns of a square grid of `tokens`, or nothing.
std::optional<int64_t> square_side(int64_t tokens) {
  const auto side = static_cast<int64_t>(std::llround(std::sqrt(static_cast<double>(tokens))));
  if (tokens < 1 || side * side != tokens) return std::nullopt;
  return side;
}

Tensor transposed(const Tensor& t) {
  const std::span<const float> src = t.values<float>();
  Tensor out(DType::kFloat32, {t.dim(1), t.dim(0)});
  const std::span<float> dst = out.mutable_values<float>();
  const auto rows = static_cast<size_t>(t.dim(0));
  const auto columns = static_cast<size_t>(t.dim(1));
  for (size_t r = 0; r < rows; ++r) {
    for (size_t c = 0; c < columns; ++c) dst[c * rows + r] = src[r * columns + c];
  }
  return out;
}

class Importer {
 public:
  Importer(const std::string& model, const ImportOptions& options)
      : model_(model), options_(options), build_(options.build) {}

  Result<ImportedModel> run(const NamedTensors& weights) {
    PARE_ASSIGN_OR_RETURN(weights_, rename_weights(weights));
    PARE_RETURN_IF_ERROR(build());
    find_matrices();
    std::set<std::string> wanted = {};
    for (const std::string& name : weight_initializers(out_.graph)) wanted.insert(name);
    for (const auto& [name, tensor] : out_.graph.initializers) {
      if (name.find(".running_") != std::string::npos) wanted.insert(name);
    }
    for (const std::string& name : wanted) PARE_RETURN_IF_ERROR(fill(name));
    for (const auto& [name, tensor] : weights_.tensors) {
      if (!wanted.contains(name)) unused_.push_back(name);
    }
    PARE_RETURN_IF_ERROR(report());
    if (weights_.epsilon > 0) set_epsilon();
    return std::move(out_);
  }

 private:
  // Builds the model with the weights' own number of classes and image size.
  Status build() {
    build_.zero_weights = true;
    const int64_t asked_classes = build_.classes;
    build_.classes = std::max<int64_t>(asked_classes, 1);
    PARE_ASSIGN_OR_RETURN(out_.graph, build_model(model_, build_));
    const Tensor* bias = find(out_.graph.nodes.back().inputs.back());
    if (asked_classes == 0 && bias != nullptr && bias->rank() == 1) build_.classes = bias->dim(0);
    if (build_.image_size == 0) build_.image_size = image_size_of_positions();
    PARE_ASSIGN_OR_RETURN(out_.graph, build_model(model_, build_));
    return ok_status();
  }

  const Tensor* find(const std::string& name) const {
    const auto it = weights_.tensors.find(name);
    return it == weights_.tensors.end() ? nullptr : &it->second;
  }

  // Tokens before the patches: the class token.
  int64_t prefix_tokens() const { return out_.graph.initializers.contains("cls_token") ? 1 : 0; }

  // The image size that the file's position embedding was made for, when it is not the model's.
  int64_t image_size_of_positions() const {
    const Tensor* own = out_.graph.find_initializer("pos_embed");
    const Tensor* given = find("pos_embed");
    const Tensor* patches = out_.graph.find_initializer("patch_embed.weight");
    if (own == nullptr || given == nullptr || patches == nullptr || given->rank() != 3) return 0;
    if (given->dim(1) == own->dim(1)) return 0;
    const std::optional<int64_t> side = square_side(given->dim(1) - prefix_tokens());
    return side.has_value() ? *side * patches->dim(2) : 0;
  }

  // Weights that MatMul reads are [in, out], PyTorch's are [out, in].
  void find_matrices() {
    for (const Node& node : out_.graph.nodes) {
      if (node.op == "MatMul") matrices_.insert(node.inputs[1]);
    }
  }

  Status fill(const std::string& name) {
    const Tensor* given = find(name);
    if (given == nullptr) {
      missing_.push_back(name);
      return ok_status();
    }
    Tensor& own = out_.graph.initializers.at(name);
    if (!is_floating(given->type())) {
      misshaped_.push_back(
          fmt::format("{} (expected floating numbers, found {})", name, dtype_name(given->type())));
      return ok_status();
    }
    PARE_ASSIGN_OR_RETURN(Tensor value, convert_floating(*given, DType::kFloat32));
    if (matrices_.contains(name) && value.rank() == 2) value = transposed(value);
    if (name == "pos_embed") resample_positions(own.shape(), value);
    if (value.shape() != own.shape()) {
      Shape expected = own.shape();
      if (matrices_.contains(name)) std::ranges::reverse(expected);
      misshaped_.push_back(fmt::format("{} (expected {}, found {})", name, shape_string(expected),
                                       shape_string(given->shape())));
      return ok_status();
    }
    own = std::move(value);
    return ok_status();
  }

  // [1, prefix + tokens, dim] to another number of tokens; left alone when that cannot be.
  void resample_positions(const Shape& wanted, Tensor& value) {
    if (value.shape() == wanted || value.rank() != 3 || value.dim(0) != 1 ||
        value.dim(2) != wanted[2]) {
      return;
    }
    const int64_t prefix = prefix_tokens();
    const int64_t dim = wanted[2];
    const std::optional<int64_t> side = square_side(value.dim(1) - prefix);
    const std::optional<int64_t> new_side = square_side(wanted[1] - prefix);
    if (!side.has_value() || !new_side.has_value()) return;
    const std::vector<float> all = to_float_vector(value);
    const auto split = all.begin() + prefix * dim;
    const std::vector<float> grid =
        resample_grid({split, all.end()}, *side, *side, dim, *new_side, *new_side);
    std::vector<float> result(all.begin(), split);
    result.insert(result.end(), grid.begin(), grid.end());
    value = Tensor::from_values<float>(wanted, result);
    out_.notes.push_back(
        fmt::format("the position embedding is resampled from {}×{} to {}×{} patches (bicubic, "
                    "antialiased)",
                    *side, *side, *new_side, *new_side));
  }

  Status report() {
    std::vector<std::string> wrong;
    if (!missing_.empty()) {
      wrong.push_back(fmt::format("{} missing: {}", missing_.size(), joined(missing_)));
    }
    if (!misshaped_.empty()) {
      wrong.push_back(fmt::format("{} that do not fit: {}", misshaped_.size(), joined(misshaped_)));
    }
    const std::string unused =
        unused_.empty() ? "" : fmt::format("{} left over: {}", unused_.size(), joined(unused_));
    if (!unused.empty() && !options_.allow_unused) wrong.push_back(unused);
    if (!unused.empty() && options_.allow_unused) out_.notes.push_back("tensors " + unused);
    if (wrong.empty()) return ok_status();
    std::string text = fmt::format("weights for model '{}' (read with {} names): tensors ", model_,
                                   weights_.convention);
    for (size_t i = 0; i < wrong.size(); ++i) text += (i == 0 ? "" : "; ") + wrong[i];
    return corrupt(text);
  }

  void set_epsilon() {
    for (Node& node : out_.graph.nodes) {
      if (node.op == "LayerNormalization") node.attributes["epsilon"] = weights_.epsilon;
    }
  }

  std::string model_;
  ImportOptions options_;
  ModelOptions build_;
  RenamedWeights weights_;
  ImportedModel out_;
  std::set<std::string> matrices_;
  std::vector<std::string> missing_;
  std::vector<std::string> misshaped_;
  std::vector<std::string> unused_;
};

}  // namespace

Result<ImportedModel> import_weights(const std::string& model, const NamedTensors& weights,
                                     const ImportOptions& options) {
  return Importer(model, options).run(weights);
}

}  // namespace pare
