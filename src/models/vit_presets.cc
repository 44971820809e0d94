// The named Vision Transformers.
//
// vit-seed: the seed's, its depth and head from the public Keras example ("Image classification
// with Vision Transformer"), 6,061,578 parameters with 10 classes. vit-<size>/<patch> for 224
// pixels: Dosovitskiy et al. 2021, table 1, and Touvron et al. 2021 (Ti and S). Patch 4 and 2:
// shapes of the same widths for CIFAR's 32 pixels, mean pooling and fewer layers.
#include "models/models.h"
#include "models/vit.h"

namespace pare {

Result<Graph> build_vit_seed(const ModelOptions& options) {
  return build_vit({.name = "vit-seed",
                    .image_size = 32,
                    .patch = 6,
                    .dim = 64,
                    .depth = 8,
                    .heads = 4,
                    .key_size = 64,
                    .mlp = 128,
                    .pool = VitPool::kFlatten,
                    .head_hidden = {2048, 1024},
                    .dropout = 0.1F,
                    .head_dropout = 0.5F},
                   options);
}

Result<Graph> build_vit_ti_4(const ModelOptions& options) {
  return build_vit({.name = "vit-ti/4",
                    .image_size = 32,
                    .patch = 4,
                    .dim = 128,
                    .depth = 6,
                    .heads = 2,
                    .mlp = 512,
                    .pool = VitPool::kMean},
                   options);
}

Result<Graph> build_vit_s_4(const ModelOptions& options) {
  return build_vit({.name = "vit-s/4",
                    .image_size = 32,
                    .patch = 4,
                    .dim = 192,
                    .depth = 9,
                    .heads = 3,
                    .mlp = 768,
                    .pool = VitPool::kMean},
                   options);
}

Result<Graph> build_vit_b_4(const ModelOptions& options) {
  return build_vit({.name = "vit-b/4",
                    .image_size = 32,
                    .patch = 4,
                    .dim = 384,
                    .depth = 12,
                    .heads = 6,
                    .mlp = 1536,
                    .pool = VitPool::kMean},
                   options);
}

Result<Graph> build_vit_ti_16(const ModelOptions& options) {
  return build_vit({.name = "vit-ti/16", .dim = 192, .heads = 3, .mlp = 768}, options);
}

Result<Graph> build_vit_s_16(const ModelOptions& options) {
  return build_vit({.name = "vit-s/16", .dim = 384, .heads = 6, .mlp = 1536}, options);
}

Result<Graph> build_vit_b_16(const ModelOptions& options) {
  return build_vit({.name = "vit-b/16"}, options);
}

Result<Graph> build_vit_l_16(const ModelOptions& options) {
  return build_vit({.name = "vit-l/16", .dim = 1024, .depth = 24, .heads = 16, .mlp = 4096},
                   options);
}

Result<Graph> build_vit_h_14(const ModelOptions& options) {
  return build_vit({.name = "vit-h/14",
                    .patch = 14,
                    .dim = 1280,
                    .depth = 32,
                    .heads = 16,
                    .key_size = 80,
                    .mlp = 5120},
                   options);
}

}  // namespace pare
