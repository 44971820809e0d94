#include "gpu/encoder.h"

#include <fmt/format.h>

#include <cstddef>
#include <optional>
#include <utility>
#include <vector>

#include "gpu/operands.h"

namespace pare::gpu {
namespace {

constexpr int kHeadDim = 64;
constexpr size_t kStepsOfBlock = 7;

bool same(const Operand& a, const Operand& b) {
  return a.space == b.space && a.offset == b.offset && a.type == b.type;
}

class Matcher {
 public:
  explicit Matcher(Program& program) : p_(program) {}

  void run();
  // Operands of all operations that are this very place.
  int uses(const Operand& operand);

 private:
  template <typename Op>
  const Op* op_at(size_t step, OpKind kind, const std::vector<Op>& ops) const {
    if (step >= p_.steps.size() || p_.steps[step].kind != kind) return nullptr;
    return &ops[static_cast<size_t>(p_.steps[step].index)];
  }
  bool plain_norm(const RowsOp& op) const;
  bool plain_product(const ProductOp& op) const;
  bool match_block(size_t step, EncoderOp& op);
  bool fits(const EncoderOp& op) const;
  void replace(size_t begin, size_t end, EncoderOp op);

  Program& p_;
};

int Matcher::uses(const Operand& operand) {
  int count = 0;
  each_kind(p_, [&](auto& ops) {
    for (auto& op : ops) {
      each_operand(op, [&](const Operand& other) { count += same(other, operand) ? 1 : 0; });
    }
  });
  return count;
}

bool Matcher::plain_norm(const RowsOp& op) const {
  return op.kind == RowKind::kLayerNorm && op.gamma.space != Space::kNone &&
         op.beta.space != Space::kNone && op.src.type == p_.storage && op.dst.type == p_.storage;
}

bool Matcher::plain_product(const ProductOp& op) const {
  return op.groups == 1 && op.in_h * op.in_w == 1 && op.image_stride == op.k &&
         op.weights_stride == op.k && op.dst.type == p_.storage && op.bias.space != Space::kNone &&
         op.src.type == p_.storage;
}

// Whether the steps from `step` on are one more block of `op`, which holds those before it.
bool Matcher::match_block(size_t step, EncoderOp& op) {
  const RowsOp* norm1 = op_at(step, OpKind::kRows, p_.rows);
  const ProductOp* qkv = op_at(step + 1, OpKind::kProduct, p_.products);
  const AttentionOp* attention = op_at(step + 2, OpKind::kAttention, p_.attentions);
  const ProductOp* proj = op_at(step + 3, OpKind::kProduct, p_.products);
  const RowsOp* norm2 = op_at(step + 4, OpKind::kRows, p_.rows);
  const ProductOp* fc1 = op_at(step + 5, OpKind::kProduct, p_.products);
  const ProductOp* fc2 = op_at(step + 6, OpKind::kProduct, p_.products);
  if (norm1 == nullptr || qkv == nullptr || attention == nullptr || proj == nullptr ||
      norm2 == nullptr || fc1 == nullptr || fc2 == nullptr) {
    return false;
  }
  const bool chained = same(norm1->dst, qkv->src) && same(qkv->dst, attention->q) &&
                       same(attention->dst, proj->src) && same(proj->residual, norm1->src) &&
                       same(norm2->src, proj->dst) && same(norm2->dst, fc1->src) &&
                       same(fc1->dst, fc2->src) && same(fc2->residual, proj->dst);
  if (!chained) return false;
  const bool plain = plain_norm(*norm1) && plain_norm(*norm2) && plain_product(*qkv) &&
                     plain_product(*proj) && plain_product(*fc1) && plain_product(*fc2) &&
                     proj->activation == Activation::kNone &&
                     qkv->activation == Activation::kNone && fc2->activation == Activation::kNone &&
                     norm1->epsilon == norm2->epsilon;
  const int64_t width = 3 * static_cast<int64_t>(attention->heads) * kHeadDim;
  const bool heads = attention->qk_dim == kHeadDim && attention->v_dim == kHeadDim &&
                     attention->q_tokens == attention->kv_tokens && qkv->n == width &&
                     attention->q_strides[1] == width && attention->k_strides[1] == width &&
                     attention->v_strides[1] == width &&
                     attention->k.offset - attention->q.offset == width / 3 * 2 &&
                     attention->v.offset - attention->k.offset == width / 3 * 2;
  // Nobody else reads what would no longer be written: one writes each, its readers are ours.
  const bool private_values = uses(norm1->dst) == 2 && uses(qkv->dst) == 2 &&
                              uses(attention->dst) == 2 && uses(proj->dst) == 3 &&
                              uses(norm2->dst) == 2 && uses(fc1->dst) == 2;
  if (!plain || !heads || !private_values) return false;
  if (op.layer_count == 0) {
    op.src = norm1->src;
    op.batch = attention->batch;
    op.tokens = attention->q_tokens;
    op.dim = norm1->cols;
    op.heads = attention->heads;
    op.mlp = fc1->n;
    op.scale = attention->scale;
    op.epsilon = norm1->epsilon;
    op.activation = fc1->activation;
  } else if (!same(op.dst, norm1->src) || uses(op.dst) != 3 || op.heads != attention->heads ||
             op.mlp != fc1->n || op.scale != attention->scale || op.epsilon != norm1->epsilon ||
             op.activation != fc1->activation) {
    return false;
  }
  if (op.layer_count == kMaxLayers || !fits(op) || norm1->cols != op.dim || proj->n != op.dim ||
      fc2->n != op.dim || norm2->cols != op.dim || norm1->rows != op.batch * op.tokens) {
    return false;
  }
  op.layers[op.layer_count++] = {norm1->gamma,  norm1->beta, qkv->weights, qkv->bias,
                                 proj->weights, proj->bias,  norm2->gamma, norm2->beta,
                                 fc1->weights,  fc1->bias,   fc2->weights, fc2->bias};
  op.dst = fc2->dst;
  return true;
}

bool Matcher::fits(const EncoderOp& op) const {
  const bool half = p_.storage == DType::kFloat16 || p_.storage == DType::kBFloat16;
  // An image has a processor to itself: wide ones are many small products' work, which pays when
  // there are images for most processors.
  constexpr int kManyImages = 64;
  if (op.dim > 64 && op.batch < kManyImages) return false;
  const bool narrow = op.dim == 64 && op.tokens <= 32;
  const bool wide = (op.dim == 128 || op.dim == 192) && op.tokens > 32 && op.tokens <= 64;
  return half && (narrow || wide) && op.mlp % 128 == 0 &&
         (op.activation == Activation::kGelu || op.activation == Activation::kRelu);
}

void Matcher::replace(size_t begin, size_t end, EncoderOp op) {
  const auto at = [](size_t i) { return static_cast<std::ptrdiff_t>(i); };
  StepInfo info;
  info.name = p_.infos[begin].name;
  info.operation =
      fmt::format("{} transformer blocks of {} tokens x {}", op.layer_count, op.tokens, op.dim);
  double nonzero = 0.0;
  for (size_t i = begin; i < end; ++i) {
    const StepInfo& part = p_.infos[i];
    info.macs += part.macs;
    info.weight_bytes += part.weight_bytes;
    nonzero += part.weight_density * static_cast<double>(part.weight_bytes);
  }
  info.weight_density = nonzero / static_cast<double>(info.weight_bytes);
  p_.steps[begin] = {OpKind::kEncoder, static_cast<int32_t>(p_.encoders.size())};
  p_.infos[begin] = std::move(info);
  p_.steps.erase(p_.steps.begin() + at(begin + 1), p_.steps.begin() + at(end));
  p_.infos.erase(p_.infos.begin() + at(begin + 1), p_.infos.begin() + at(end));
  p_.encoders.push_back(op);
}

void Matcher::run() {
  for (size_t begin = 0; begin < p_.steps.size(); ++begin) {
    EncoderOp op;
    size_t end = begin;
    while (match_block(end, op)) end += kStepsOfBlock;
    if (op.layer_count == 0) continue;
    const RowsOp* last = op_at(end, OpKind::kRows, p_.rows);
    if (last != nullptr && same(last->src, op.dst) && plain_norm(*last) && uses(op.dst) == 2 &&
        last->epsilon == op.epsilon) {
      op.last_gamma = last->gamma;
      op.last_beta = last->beta;
      op.dst = last->dst;
      ++end;
    }
    replace(begin, end, op);
  }
}

// What a chain adds to every image alike, if it does nothing else to operand 0.
const ChainOperand* periodic_addend(const ChainOp& chain) {
  const bool adds = chain.operand_count == 2 && chain.instruction_count == 1 &&
                    chain.program[0].op == LoopOp::kAdd && chain.program[0].operand == 1 &&
                    chain.table.space == Space::kNone && is_floating(chain.dst.type);
  if (!adds) return nullptr;
  constexpr int kImage = kMaxRank - 2;
  constexpr int kInner = kMaxRank - 1;
  for (int d = 0; d < kImage; ++d) {
    if (chain.shape[d] != 1) return nullptr;
  }
  const int64_t each = chain.shape[kInner];
  const bool dense = chain.dst_strides[kInner] == 1 && chain.operands[0].strides[kInner] == 1 &&
                     chain.operands[1].strides[kInner] == 1;
  const bool images = chain.shape[kImage] == 1 || (chain.dst_strides[kImage] == each &&
                                                   chain.operands[0].strides[kImage] == each &&
                                                   chain.operands[1].strides[kImage] == 0);
  return dense && images ? &chain.operands[1] : nullptr;
}

}  // namespace

void fuse_positions(Program& program) {
  for (size_t i = 1; i < program.steps.size(); ++i) {
    if (program.steps[i].kind != OpKind::kChain || program.steps[i - 1].kind != OpKind::kProduct) {
      continue;
    }
    const ChainOp& chain = program.chains[static_cast<size_t>(program.steps[i].index)];
    ProductOp& product = program.products[static_cast<size_t>(program.steps[i - 1].index)];
    const ChainOperand* addend = periodic_addend(chain);
    const int64_t width = product.n * product.groups;
    if (addend == nullptr || !same(chain.operands[0].place, product.dst) ||
        product.residual.space != Space::kNone || product.activation != Activation::kNone ||
        !is_floating(product.dst.type) || product.dst_stride != width ||
        chain.count != product.m * width || chain.shape[kMaxRank - 1] % width != 0 ||
        Matcher(program).uses(product.dst) != 2) {
      continue;
    }
    product.residual = addend->place;
    product.residual_stride = width;
    product.residual_period = static_cast<int32_t>(chain.shape[kMaxRank - 1] / width);
    product.dst = chain.dst;
    program.infos[i - 1].operation += " + " + program.infos[i].operation;
    program.steps.erase(program.steps.begin() + static_cast<std::ptrdiff_t>(i));
    program.infos.erase(program.infos.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

void fuse_encoders(Program& program) { Matcher(program).run(); }

}  // namespace pare::gpu
