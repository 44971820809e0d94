// Vision Transformers (Dosovitskiy et al. 2021) by configuration.
//
// Pre-norm blocks on tokens [T, dim]:  x += proj(attention(norm1(x))),  x +=
// fc2(gelu(fc1(norm2(x)))). `attn.qkv` gives q, k and v in that order, each heads × key_size;
// scores are scaled by 1 / sqrt(key_size). Patches are taken without padding: rows and columns that
// do not fill a patch are unused. Tensor names are timm's but for "patch_embed.weight"; weights
// that multiply tokens are stored [in, out] (MatMul), those of the head [out, in] (Gemm).
//
// Initial weights follow the authors' code: Xavier uniform for every projection (each of q, k, v
// counted by itself), LeCun normal for the patches, normal 0.02 for the positions, zero for the
// class token and biases; a hidden head layer starts as He et al. 2015.
#ifndef PARE_MODELS_VIT_H_
#define PARE_MODELS_VIT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "pare/status.h"

#include "graph/graph.h"
#include "models/models.h"

namespace pare {

enum class VitPool {
  kClassToken,  // a learnt token in front; the head reads it
  kMean,        // mean of the tokens after the last norm
  kFlatten,     // all tokens side by side
};

struct VitConfig {
  std::string name;
  int64_t image_size = 224;  // when the options leave it open
  int64_t patch = 16;
  int64_t dim = 768;
  int64_t depth = 12;
  int64_t heads = 12;
  int64_t key_size = 64;
  int64_t mlp = 3072;
  VitPool pool = VitPool::kClassToken;
  std::vector<int64_t> head_hidden = {};  // dense + GELU layers before the classifier
  float dropout = 0.0F;                   // attention weights, MLP and position embedding
  float head_dropout = 0.0F;              // before each dense layer of the head
  float epsilon = 1e-6F;
};

Result<Graph> build_vit(const VitConfig& config, const ModelOptions& options);

}  // namespace pare

#endif  // PARE_MODELS_VIT_H_
