// The operands of each operation, for those who resolve or change all of them.
#ifndef PARE_GPU_OPERANDS_H_
#define PARE_GPU_OPERANDS_H_

#include "gpu/program.h"

namespace pare::gpu {

template <typename F>
void each_operand(InputOp& op, F&& f) {
  f(op.src), f(op.dst), f(op.table);
}
template <typename F>
void each_operand(ProductOp& op, F&& f) {
  f(op.src), f(op.weights), f(op.dst), f(op.bias);
  f(op.int_bias), f(op.multiplier), f(op.residual);
}
template <typename F>
void each_operand(RowsOp& op, F&& f) {
  f(op.src), f(op.dst), f(op.gamma), f(op.beta);
}
template <typename F>
void each_operand(AttentionOp& op, F&& f) {
  f(op.q), f(op.k), f(op.v), f(op.dst);
}
template <typename F>
void each_operand(PoolOp& op, F&& f) {
  f(op.src), f(op.dst);
}
template <typename F>
void each_operand(ReduceOp& op, F&& f) {
  f(op.src), f(op.dst);
}
template <typename F>
void each_operand(ChainOp& op, F&& f) {
  f(op.dst), f(op.table);
  for (int i = 0; i < op.operand_count; ++i) f(op.operands[i].place);
}

template <typename F>
void each_operand(EncoderOp& op, F&& f) {
  f(op.src), f(op.dst), f(op.last_gamma), f(op.last_beta);
  for (int i = 0; i < op.layer_count; ++i) {
    EncoderLayer& l = op.layers[i];
    f(l.norm1_gamma), f(l.norm1_beta), f(l.qkv), f(l.qkv_bias), f(l.proj), f(l.proj_bias);
    f(l.norm2_gamma), f(l.norm2_beta), f(l.fc1), f(l.fc1_bias), f(l.fc2), f(l.fc2_bias);
  }
}

// Calls f with the vector of every kind of operation.
template <typename P, typename F>
void each_kind(P& program, F&& f) {
  f(program.inputs), f(program.products), f(program.rows);
  f(program.attentions), f(program.pools), f(program.chains), f(program.reduces);
  f(program.encoders);
}

inline std::vector<InputOp>& ops_of(Program& p, const InputOp*) { return p.inputs; }
inline std::vector<ProductOp>& ops_of(Program& p, const ProductOp*) { return p.products; }
inline std::vector<RowsOp>& ops_of(Program& p, const RowsOp*) { return p.rows; }
inline std::vector<AttentionOp>& ops_of(Program& p, const AttentionOp*) { return p.attentions; }
inline std::vector<PoolOp>& ops_of(Program& p, const PoolOp*) { return p.pools; }
inline std::vector<ChainOp>& ops_of(Program& p, const ChainOp*) { return p.chains; }
inline std::vector<ReduceOp>& ops_of(Program& p, const ReduceOp*) { return p.reduces; }

}  // namespace pare::gpu

#endif  // PARE_GPU_OPERANDS_H_
