// Nets that learn CIFAR fast, after Jordan's airbench ("94% on CIFAR-10 in 3.29 seconds on a single
// GPU", 2024), which follows Page's and Balsam's.
//
// A 2×2 convolution that whitens its patches (whitening.h) and three groups of 3×3 convolutions,
// the first of a group followed by pooling and only then by batch norm, GELU everywhere. "speedrun"
// is airbench94: widths 64, 256, 256, two convolutions a group, 2.0 M parameters. "speedrun-wide"
// is airbench96: 128, 384, 512, three convolutions a group and a shortcut over the last two: a
// teacher at a third of wrn-16-8's cost.
//
// 3×3 convolutions start as the identity on as many channels as they read (Dirac), the rest uniform
// in ±√(1 / fan in). airbench divides its scores by their count of features; here the last layer's
// weights start that much smaller instead, and its rate is the smaller by the square, which is the
// same. Batch norms keep 0.6 of their statistics each step: in so few steps nothing older is true.
#include <fmt/format.h>

#include <array>

#include "models/builder.h"
#include "models/models.h"

namespace pare {
namespace {

constexpr int64_t kGeluOpset = 20;  // the first with Gelu
constexpr float kKeptStatistics = 0.6F;
constexpr int64_t kWhiteningKernel = 2;

struct Config {
  const char* name;
  std::array<int64_t, 3> widths;
  bool residual = false;  // a third convolution, and a shortcut over the last two
};

Value conv_norm(GraphBuilder& b, bool training_form, const std::string& group, int index,
                const Value& x, int64_t channels) {
  Value y = b.conv(fmt::format("{}.conv{}", group, index), x,
                   {.channels = channels,
                    .kernel = 3,
                    .padding = 1,
                    .bias = !training_form,
                    .init = InitKind::kDirac});
  // The first halves the image, and pools before the norm: fewer pixels to normalise.
  if (index == 1) y = b.max_pool(group + ".pool", y, {.kernel = 2, .stride = 2});
  return training_form ? b.batch_norm(fmt::format("{}.norm{}", group, index), y, kKeptStatistics)
                       : y;
}

Value conv_group(GraphBuilder& b, const Config& c, bool training_form, const std::string& group,
                 const Value& x, int64_t channels) {
  Value y = b.gelu(group + ".gelu1", conv_norm(b, training_form, group, 1, x, channels));
  const Value shortcut = y;
  y = b.gelu(group + ".gelu2", conv_norm(b, training_form, group, 2, y, channels));
  if (!c.residual) return y;
  y = conv_norm(b, training_form, group, 3, y, channels);
  return b.gelu(group + ".gelu3", b.add(group + ".add", y, shortcut));
}

Result<Graph> build(const Config& c, const ModelOptions& options) {
  GraphBuilder b(c.name, options, 32, kGeluOpset);
  Value x = b.image_input();
  x = b.conv("whiten", x,
             {.channels = 2 * x.shape[0] * kWhiteningKernel * kWhiteningKernel,
              .kernel = kWhiteningKernel,
              .init = InitKind::kLecunNormal});
  x = b.gelu("whiten.gelu", x);
  for (size_t i = 0; i < c.widths.size(); ++i) {
    x = conv_group(b, c, options.training_form, fmt::format("group{}", i + 1), x, c.widths[i]);
  }
  x = b.node("GlobalMaxPool", "pool", {x.name}, {x.shape[0], 1, 1});
  x = b.flatten("flatten", x);
  return b.finish(b.dense("head", x, options.classes, InitKind::kMeanScores, /*bias=*/false));
}

}  // namespace

Result<Graph> build_speedrun(const ModelOptions& options) {
  return build({.name = "speedrun", .widths = {64, 256, 256}}, options);
}

Result<Graph> build_speedrun_wide(const ModelOptions& options) {
  return build({.name = "speedrun-wide", .widths = {128, 384, 512}, .residual = true}, options);
}

}  // namespace pare
