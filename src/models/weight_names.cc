#include "models/weight_names.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace pare {
namespace {

struct Replacement {
  const char* from;
  const char* to;
};

// transformers.ViTForImageClassification: the names in its files, then those that version 5 gives
// the same tensors in memory. The order matters: ".output.dense." is part of
// ".attention.output.dense.".
constexpr Replacement kHuggingFace[] = {
    {"embeddings.cls_token", "cls_token"},
    {"embeddings.position_embeddings", "pos_embed"},
    {"embeddings.patch_embeddings.projection.", "patch_embed."},
    {"encoder.layer.", "blocks."},
    {".layernorm_before.", ".norm1."},
    {".layernorm_after.", ".norm2."},
    {".attention.attention.query.", ".attn.q."},
    {".attention.attention.key.", ".attn.k."},
    {".attention.attention.value.", ".attn.v."},
    {".attention.output.dense.", ".attn.proj."},
    {".intermediate.dense.", ".mlp.fc1."},
    {".output.dense.", ".mlp.fc2."},
    {"layers.", "blocks."},
    {".attention.q_proj.", ".attn.q."},
    {".attention.k_proj.", ".attn.k."},
    {".attention.v_proj.", ".attn.v."},
    {".attention.o_proj.", ".attn.proj."},
    {"layernorm.", "norm."},
    {"classifier.", "head."},
};

// timm.models.vision_transformer; fc_norm stands for norm where tokens are averaged.
constexpr Replacement kTimm[] = {
    {"patch_embed.proj.", "patch_embed."},
    {"fc_norm.", "norm."},
};

// torchvision.models.alexnet.
constexpr Replacement kTorchvisionAlexnet[] = {
    {"features.0.", "conv1."}, {"features.3.", "conv2."},  {"features.6.", "conv3."},
    {"features.8.", "conv4."}, {"features.10.", "conv5."}, {"classifier.1.", "fc6."},
    {"classifier.4.", "fc7."}, {"classifier.6.", "fc8."},
};

std::string replaced(std::string name, std::span<const Replacement> replacements) {
  for (const Replacement& r : replacements) {
    // What does not begin with a dot is a whole first part of the name.
    const size_t at = name.find(r.from);
    if (at == std::string::npos || (r.from[0] != '.' && at != 0)) continue;
    name.replace(at, std::strlen(r.from), r.to);
  }
  return name;
}

// Wrappers around a model put their own part before every name.
std::string without_wrapper(std::string name) {
  for (const char* prefix : {"module.", "model.", "_orig_mod.", "vit."}) {
    if (name.starts_with(prefix)) name.erase(0, std::strlen(prefix));
  }
  return name;
}

// q, k and v one below the other: [out, in] three times becomes [3 out, in].
Result<Tensor> stack_rows(const std::string& name, const std::array<const Tensor*, 3>& parts) {
  std::vector<float> values;
  for (const Tensor* part : parts) {
    if (part->shape() != parts[0]->shape()) {
      return invalid_argument(fmt::format("'{}': query, key and value of different shapes", name));
    }
    const std::vector<float> v = to_float_vector(*part);
    values.insert(values.end(), v.begin(), v.end());
  }
  Shape shape = parts[0]->shape();
  if (shape.empty()) return invalid_argument(fmt::format("'{}': a scalar", name));
  shape[0] *= 3;
  return Tensor::from_values<float>(std::move(shape), values);
}

Status join_attention(NamedTensors& tensors) {
  std::vector<std::string> queries;
  for (const auto& [name, tensor] : tensors) {
    if (name.find(".attn.q.") != std::string::npos) queries.push_back(name);
  }
  for (const std::string& query : queries) {
    const size_t at = query.find(".attn.q.") + 6;
    const auto part = [&](const char* which) {
      std::string name = query;
      return name.replace(at, 1, which);
    };
    std::array<const Tensor*, 3> parts{};
    for (size_t i = 0; i < 3; ++i) {
      const std::string name = part(std::array{"q", "k", "v"}[i]);
      const auto it = tensors.find(name);
      if (it == tensors.end()) {
        return invalid_argument(fmt::format("'{}' is there, '{}' is missing", query, name));
      }
      parts[i] = &it->second;
    }
    PARE_ASSIGN_OR_RETURN(Tensor joined, stack_rows(query, parts));
    for (const char* which : {"q", "k", "v"}) tensors.erase(part(which));
    tensors[part("qkv")] = std::move(joined);
  }
  return ok_status();
}

}  // namespace

Result<RenamedWeights> rename_weights(const NamedTensors& weights) {
  const auto has = [&](const char* part) {
    return std::ranges::any_of(
        weights, [&](const auto& w) { return w.first.find(part) != std::string::npos; });
  };
  RenamedWeights out;
  out.convention = "Pare's or timm's";
  std::span<const Replacement> replacements = kTimm;
  if (has("patch_embeddings.projection")) {
    replacements = kHuggingFace;
    out.convention = "Hugging Face's";
    out.epsilon = 1e-12F;
  } else if (has("features.0.")) {
    replacements = kTorchvisionAlexnet;
    out.convention = "torchvision's";
  }
  for (const auto& [name, tensor] : weights) {
    if (name.ends_with("num_batches_tracked")) continue;
    std::string own = replaced(without_wrapper(name), replacements);
    if (!out.tensors.emplace(own, tensor).second) {
      return invalid_argument(
          fmt::format("'{}' and another tensor both stand for '{}'", name, own));
    }
  }
  PARE_RETURN_IF_ERROR(join_attention(out.tensors));
  return out;
}

}  // namespace pare
