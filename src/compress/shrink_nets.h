// Nets of every form that units are coupled in, on the images of toy.h; for the tests of shrinking.
#ifndef PARE_COMPRESS_SHRINK_NETS_H_
#define PARE_COMPRESS_SHRINK_NETS_H_

#include "graph/graph.h"

namespace pare::toy {

// Two residual blocks, the second behind a stride with a 1×1 convolution in its shortcut, a batch
// norm behind the sum that nothing folds, global pooling.
Graph residual_net();
// Two convolutions side by side, joined; their result joined with one of them again.
Graph concat_net();
// Convolutions in 2 groups of 8 inputs, in 8 groups of 2, and depthwise with two outputs a channel.
Graph grouped_chain();
// One transformer block of 4 heads over 4 patches: projections in one matrix that is reshaped to
// [3, heads, width] and taken apart by Gather, as timm is exported, or in three.
Graph vit_net(bool fused);

}  // namespace pare::toy

#endif  // PARE_COMPRESS_SHRINK_NETS_H_
