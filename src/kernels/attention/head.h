// One head of attention in cache, for the files of this family: keys and values in panels, queries
// in rows.
#ifndef PARE_KERNELS_ATTENTION_HEAD_H_
#define PARE_KERNELS_ATTENTION_HEAD_H_

#include <cstddef>
#include <cstdint>

#include "kernels/attention/attention.h"
#include "kernels/gemm/panels.h"
#include "kernels/norm/rows.h"

namespace pare {

struct HeadTiles {
  const TileSet* tiles;  // of float32 weights
  const NormRows* rows;
};

// The memory for one head: panels of keys and of values, scores of one block of queries.
struct HeadLayout {
  PanelLayout keys;
  PanelLayout values;
  int64_t scores_stride = 0;

  static HeadLayout of(const TileSet& tiles, const AttentionProblem& problem);
  int64_t keys_bytes() const { return round_up_64(keys.bytes()); }
  int64_t values_bytes() const { return round_up_64(values.bytes()); }
  int64_t scores_bytes() const { return kMaxBlockRows * scores_stride * 4; }
};

struct Head {
  const float* q = nullptr;
  int64_t q_stride = 0;             // elements from token to token
  const std::byte* keys = nullptr;  // packed; 64-byte aligned, as what follows
  const std::byte* values = nullptr;
  float* scores = nullptr;  // scratch
  void* dst = nullptr;      // of this head's first token
  int64_t dst_stride = 0;
  float out_scale = 1.0F;
  int32_t out_zero_point = 0;
};

// The attention of all queries of one head.
void attend(const HeadTiles& tiles, const HeadLayout& layout, const AttentionProblem& problem,
            const Head& head);

extern const HeadTiles kHeadAvx2;
extern const HeadTiles kHeadAvx512;
extern const HeadTiles kHeadNeon;

}  // namespace pare

#endif  // PARE_KERNELS_ATTENTION_HEAD_H_
