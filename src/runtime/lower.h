// The functions behind operators.inc and the groups of fusion.h, by the file that defines them.
// Each binds the outputs of its node (or group) and emits the steps that compute them.
#ifndef PARE_RUNTIME_LOWER_H_
#define PARE_RUNTIME_LOWER_H_

#include "pare/status.h"

#include "graph/graph.h"
#include "runtime/fusion.h"
#include "runtime/lowering.h"

namespace pare {

// lower_elementwise.cc
Status lower_chain(Lowering& lowering, const ChainGroup& group);
Status lower_unary(Lowering& lowering, const Node& node);
Status lower_binary(Lowering& lowering, const Node& node);
Status lower_quantize(Lowering& lowering, const Node& node);
Status lower_dequantize(Lowering& lowering, const Node& node);
// lower_typed.cc
Status lower_typed_binary(Lowering& lowering, const Node& node);
Status lower_typed_unary(Lowering& lowering, const Node& node);
Status lower_where(Lowering& lowering, const Node& node);
Status lower_cast(Lowering& lowering, const Node& node);
Status lower_dynamic_quantize(Lowering& lowering, const Node& node);
// lower_views.cc
Status lower_identity(Lowering& lowering, const Node& node);
Status lower_reshape(Lowering& lowering, const Node& node);
Status lower_transpose(Lowering& lowering, const Node& node);
Status lower_split(Lowering& lowering, const Node& node);
Status lower_slice(Lowering& lowering, const Node& node);
Status lower_expand(Lowering& lowering, const Node& node);
Status lower_known(Lowering& lowering, const Node& node);
// lower_move.cc
Status lower_concat(Lowering& lowering, const Node& node);
Status lower_gather(Lowering& lowering, const Node& node);
Status lower_pad(Lowering& lowering, const Node& node);
Status lower_tile(Lowering& lowering, const Node& node);
Status lower_depth_to_space(Lowering& lowering, const Node& node);
Status lower_space_to_depth(Lowering& lowering, const Node& node);
Status lower_constant_of_shape(Lowering& lowering, const Node& node);
// lower_layers.cc
Status lower_norm(Lowering& lowering, const Node& node);
Status lower_pool(Lowering& lowering, const Node& node);
Status lower_reduce(Lowering& lowering, const Node& node);
Status lower_arg_max(Lowering& lowering, const Node& node);
Status lower_batch_norm(Lowering& lowering, const Node& node);
// lower_attention.cc
Status lower_attention(Lowering& lowering, const Node& node);
// lower_product.cc
Status lower_product(Lowering& lowering, const ProductGroup& group);

}  // namespace pare

#endif  // PARE_RUNTIME_LOWER_H_
