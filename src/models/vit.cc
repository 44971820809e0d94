#include "models/vit.h"

#include <fmt/format.h>

#include <cmath>

#include "models/builder.h"

namespace pare {
namespace {

// GELU became an ONNX operator in opset 20.
constexpr int64_t kOpset = 20;

std::string ints(GraphBuilder& b, const std::string& name, const std::vector<int64_t>& values) {
  return b.constant(name,
                    Tensor::from_values<int64_t>({static_cast<int64_t>(values.size())}, values));
}

Value optional_dropout(GraphBuilder& b, const std::string& name, const Value& x, float ratio) {
  return ratio > 0.0F ? b.dropout(name, x, ratio) : x;
}

// Puts the class token, the same for every image, before the patches.
Value prepend_class_token(GraphBuilder& b, const Value& patches, int64_t dim) {
  const std::string token = b.weight("cls_token", {1, 1, dim}, {});
  const Value count = b.node("Shape", "cls_token.count", {patches.name}, {1},
                             {{"end", int64_t{1}}, {"start", int64_t{0}}});
  const Value target =
      b.node("Concat", "cls_token.target", {count.name, ints(b, "cls_token.dims", {1, dim})}, {3},
             {{"axis", int64_t{0}}});
  const Value tokens =
      b.node("Expand", "cls_token.expand", {token, target.name}, {1, patches.shape[1]});
  return b.node("Concat", "tokens", {tokens.name, patches.name}, {patches.shape[0] + 1, dim},
                {{"axis", int64_t{1}}});
}

Value embed(GraphBuilder& b, const VitConfig& c) {
  const Value image = b.image_input();
  const Value grid = b.conv(
      "patch_embed", image,
      {.channels = c.dim, .kernel = c.patch, .stride = c.patch, .init = InitKind::kLecunNormal});
  const int64_t patches = grid.shape[1] * grid.shape[2];
  const Value columns =
      b.node("Reshape", "patch_embed.columns",
             {grid.name, ints(b, "patch_embed.columns.shape", {0, c.dim, -1})}, {c.dim, patches});
  Value x = b.node("Transpose", "patch_embed.tokens", {columns.name}, {patches, c.dim},
                   {{"perm", std::vector<int64_t>{0, 2, 1}}});
  if (c.pool == VitPool::kClassToken) x = prepend_class_token(b, x, c.dim);
  const std::string positions =
      b.weight("pos_embed", {1, x.shape[0], c.dim}, {.kind = InitKind::kNormal002});
  x = b.node("Add", "pos_embed.add", {x.name, positions}, x.shape);
  return optional_dropout(b, "pos_drop", x, c.dropout);
}

// softmax(q kᵀ / sqrt(key_size)) v for every head, then the projection.
Value attention(GraphBuilder& b, const VitConfig& c, const std::string& name, const Value& x) {
  const int64_t tokens = x.shape[0];
  const int64_t inner = c.heads * c.key_size;
  const Value qkv = b.token_dense(name + ".qkv", x, 3 * inner, inner);
  const std::vector<Value> parts = b.node_with_outputs(
      "Split", name + ".split", {qkv.name, ints(b, name + ".split.sizes", {inner, inner, inner})},
      std::vector<Shape>(3, {tokens, inner}), {{"axis", int64_t{-1}}});
  const auto heads = [&](const Value& v, const std::string& part, std::vector<int64_t> perm) {
    const std::string stem = name + "." + part;
    const Value split =
        b.node("Reshape", stem + ".heads",
               {v.name, ints(b, stem + ".heads.shape", {0, tokens, c.heads, c.key_size})},
               {tokens, c.heads, c.key_size});
    Shape shape;
    for (size_t i = 1; i < 4; ++i) {
      shape.push_back(split.shape[static_cast<size_t>(perm[i]) - 1]);
    }
    return b.node("Transpose", stem, {split.name}, shape, {{"perm", std::move(perm)}});
  };
  const Value q = heads(parts[0], "q", {0, 2, 1, 3});
  const Value k = heads(parts[1], "k", {0, 2, 3, 1});
  const Value v = heads(parts[2], "v", {0, 2, 1, 3});
  const Shape square = {c.heads, tokens, tokens};
  const std::string scale =
      b.constant(name + ".scale.value",
                 Tensor::scalar<float>(1.0F / std::sqrt(static_cast<float>(c.key_size))));
  Value s = b.node("MatMul", name + ".scores", {q.name, k.name}, square);
  s = b.node("Mul", name + ".scale", {s.name, scale}, square);
  s = b.node("Softmax", name + ".softmax", {s.name}, square, {{"axis", int64_t{-1}}});
  s = optional_dropout(b, name + ".drop", s, c.dropout);
  Value y = b.node("MatMul", name + ".context", {s.name, v.name}, {c.heads, tokens, c.key_size});
  y = b.node("Transpose", name + ".context.tokens", {y.name}, {tokens, c.heads, c.key_size},
             {{"perm", std::vector<int64_t>{0, 2, 1, 3}}});
  y = b.node("Reshape", name + ".context.merge",
             {y.name, ints(b, name + ".context.merge.shape", {0, tokens, inner})}, {tokens, inner});
  return b.token_dense(name + ".proj", y, c.dim);
}

Value block(GraphBuilder& b, const VitConfig& c, const std::string& name, const Value& x) {
  Value y = b.layer_norm(name + ".norm1", x, c.epsilon);
  y = attention(b, c, name + ".attn", y);
  const Value middle = b.add(name + ".add1", x, y);
  y = b.layer_norm(name + ".norm2", middle, c.epsilon);
  y = b.token_dense(name + ".mlp.fc1", y, c.mlp);
  y = b.gelu(name + ".mlp.gelu", y);
  y = optional_dropout(b, name + ".mlp.drop1", y, c.dropout);
  y = b.token_dense(name + ".mlp.fc2", y, c.dim);
  y = optional_dropout(b, name + ".mlp.drop2", y, c.dropout);
  return b.add(name + ".add2", middle, y);
}

Value pooled(GraphBuilder& b, const VitConfig& c, const Value& x) {
  switch (c.pool) {
    case VitPool::kClassToken:
      return b.node("Gather", "pool",
                    {x.name, b.constant("pool.index", Tensor::scalar<int64_t>(0))}, {c.dim},
                    {{"axis", int64_t{1}}});
    case VitPool::kMean:
      return b.node("ReduceMean", "pool", {x.name, ints(b, "pool.axes", {1})}, {c.dim},
                    {{"keepdims", int64_t{0}}});
    case VitPool::kFlatten:
      return b.flatten("pool", x);
  }
  return x;
}

Value head(GraphBuilder& b, const VitConfig& c, const Value& x, int64_t classes) {
  if (c.head_hidden.empty()) {
    return b.dense("head", optional_dropout(b, "head.drop", x, c.head_dropout), classes,
                   InitKind::kScores);
  }
  Value y = x;
  int index = 1;
  for (const int64_t units : c.head_hidden) {
    y = optional_dropout(b, fmt::format("head.drop{}", index), y, c.head_dropout);
    y = b.dense(fmt::format("head.fc{}", index), y, units);
    y = b.gelu(fmt::format("head.gelu{}", index), y);
    ++index;
  }
  y = optional_dropout(b, fmt::format("head.drop{}", index), y, c.head_dropout);
  return b.dense("head.out", y, classes, InitKind::kScores);
}

}  // namespace

Result<Graph> build_vit(const VitConfig& config, const ModelOptions& options) {
  GraphBuilder b(config.name, options, config.image_size, kOpset);
  if (config.patch < 1 || config.dim < 1 || config.depth < 0 || config.heads < 1 ||
      config.key_size < 1 || config.mlp < 1) {
    return invalid_argument(
        fmt::format("model '{}': patch {}, dim {}, heads {}, key size {} and MLP {} must be "
                    "positive and depth {} not negative",
                    config.name, config.patch, config.dim, config.heads, config.key_size,
                    config.mlp, config.depth));
  }
  Value x = embed(b, config);
  for (int64_t i = 0; i < config.depth; ++i) x = block(b, config, fmt::format("blocks.{}", i), x);
  x = b.layer_norm("norm", x, config.epsilon);
  return b.finish(head(b, config, pooled(b, config, x), options.classes));
}

}  // namespace pare
