// Attention is recognised by where its numbers come from, not by one order of reshapes, transposes,
// splits and slices. Each operand of the two products is followed back through such nodes, and what
// they do together is written as a strided view of the value they started from; the strides say
// whether that value holds q, k and v as pare.Attention wants them.
#include <algorithm>

#include "graph/operators.h"
#include "graph/passes.h"
#include "graph/passes/matcher.h"
#include "graph/shapes.h"

namespace pare {
namespace {

// One axis of a view: runs of `size` steps of `stride`, the outermost first. An axis has several
// where a Reshape merged axes that do not lie behind one another in memory.
struct Run {
  int64_t size = 1;
  int64_t stride = 1;
};
using MergedAxis = std::vector<Run>;

int64_t axis_size(const MergedAxis& axis) {
  int64_t size = 1;
  for (const Run& run : axis) size *= run.size;
  return size;
}

// Element (i0, i1, ...) stands at offset + Σ of its axes' places in the source's row-major order.
struct AxisView {
  std::vector<MergedAxis> axes;
  int64_t offset = 0;
};

AxisView whole(const Shape& shape) {
  AxisView view{std::vector<MergedAxis>(shape.size()), 0};
  int64_t stride = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    view.axes[i] = {{shape[i], stride}};
    stride *= std::max<int64_t>(shape[i], 1);
  }
  return view;
}

Shape shape_of(const AxisView& view) {
  Shape shape;
  for (const MergedAxis& axis : view.axes) shape.push_back(axis_size(axis));
  return shape;
}

// Runs that lie behind one another become one; those of one element go.
void join_runs(MergedAxis& axis) {
  MergedAxis joined;
  for (const Run& run : axis) {
    if (run.size == 1) continue;
    if (!joined.empty() && joined.back().stride == run.size * run.stride) {
      joined.back() = {joined.back().size * run.size, run.stride};
    } else {
      joined.push_back(run);
    }
  }
  axis = std::move(joined);
}

// The view under another shape: its runs dealt out to the new axes in order, one of them cut where
// an axis ends inside it. Fails where the cut does not come out even.
bool reshape(AxisView& view, const Shape& shape) {
  std::vector<Run> runs;
  for (const MergedAxis& axis : view.axes) {
    for (const Run& run : axis) {
      if (run.size == 0) return false;
      if (run.size != 1) runs.push_back(run);
    }
  }
  std::vector<MergedAxis> axes;
  size_t next = 0;
  for (int64_t wanted : shape) {
    MergedAxis axis;
    while (wanted != 1) {
      if (next == runs.size()) return false;
      Run& run = runs[next];
      if (wanted % run.size == 0) {
        wanted /= run.size;
        axis.push_back(run);
        next += 1;
      } else if (wanted != 0 && run.size % wanted == 0) {
        const int64_t inner = run.size / wanted;
        axis.push_back({wanted, run.stride * inner});
        run.size = inner;
        wanted = 1;
      } else {
        return false;
      }
    }
    join_runs(axis);
    axes.push_back(std::move(axis));
  }
  view.axes = std::move(axes);
  return next == runs.size();
}

class Tracer {
 public:
  Tracer(const Graph& graph, const Inference& inference)
      : match_(graph), graph_(graph), inference_(inference) {}

  const Matcher& match() const { return match_; }
  const Shape& shape(const std::string& value) const { return inference_.infos.at(value).shape; }

  // A value that an operand is a view of, times a number.
  struct Origin {
    std::string source;
    AxisView view;
    double scale = 1.0;
  };

  // Every value on the way back through moving nodes, the farthest first, that has the shape
  // images × tokens × width.
  std::vector<Origin> origins(const std::string& value, int64_t images, int64_t tokens) const {
    std::vector<const Node*> path;  // from the operand back
    std::vector<std::string> values = {value};
    while (path.size() < 32) {
      const Node* node = match_.producer(values.back());
      const size_t input = node == nullptr ? 0 : moved_input(*node);
      if (node == nullptr || input >= node->inputs.size()) break;
      path.push_back(node);
      values.push_back(node->inputs[input]);
    }
    std::vector<Origin> found;
    for (size_t start = values.size(); start-- > 0;) {
      const Shape& from = shape(values[start]);
      if (from.size() != 3 || from[0] != images || from[1] != tokens) continue;
      Origin origin{values[start], whole(from), 1.0};
      bool follows = true;
      for (size_t i = start; follows && i-- > 0;) follows = apply(*path[i], values[i], origin);
      if (follows) found.push_back(std::move(origin));
    }
    return found;
  }

  // The input of a node that only moves, or scales by one number; none otherwise.
  size_t moved_input(const Node& node) const {
    constexpr size_t kNone = SIZE_MAX;
    if (!node.domain.empty()) return kNone;
    static const std::vector<std::string> kMoves = {"Reshape", "Transpose", "Squeeze",
                                                    "Flatten", "Unsqueeze", "Slice",
                                                    "Split",   "Gather",    "Identity"};
    if (std::find(kMoves.begin(), kMoves.end(), node.op) != kMoves.end()) return 0;
    if (node.op != "Mul" && node.op != "Div") return kNone;
    const auto scaled = match_.with_scalar(node);
    if (!scaled || (node.op == "Div" && scaled->scalar_first)) return kNone;
    return scaled->scalar_first ? 1 : 0;
  }

 private:
  bool apply(const Node& node, const std::string& output, Origin& origin) const {
    AxisView& view = origin.view;
    if (node.op == "Transpose") return transpose(node, view);
    if (node.op == "Slice") return slice(node, view);
    if (node.op == "Split") return split(node, output, view);
    if (node.op == "Gather") return gather(node, view);
    if (node.op == "Mul" || node.op == "Div") {
      const double number = match_.with_scalar(node)->number;
      origin.scale = node.op == "Mul" ? origin.scale * number : origin.scale / number;
      return shape(output) == shape_of(view);
    }
    return reshape(view, shape(output));
  }

  static bool transpose(const Node& node, AxisView& view) {
    const auto perm = node.ints_attribute("perm");
    if (perm.size() != view.axes.size()) return false;
    const std::vector<MergedAxis> before = view.axes;
    for (size_t i = 0; i < perm.size(); ++i) view.axes[i] = before[static_cast<size_t>(perm[i])];
    return true;
  }

  // Keeps `count` places of an axis, `step` apart, from `start` on.
  static bool narrow(AxisView& view, size_t axis, const SliceRange& range) {
    const int64_t size = axis_size(view.axes[axis]);
    if (range.start == 0 && range.step == 1 && range.count == size) return true;
    if (view.axes[axis].size() != 1 || range.count < 1) return false;
    Run& run = view.axes[axis][0];
    view.offset += range.start * run.stride;
    run = {range.count, run.stride * range.step};
    return true;
  }

  bool slice(const Node& node, AxisView& view) const {
    const RuleContext context(node, graph_.opset, inference_.infos, inference_.known);
    const auto ranges = slice_ranges(context);
    if (!ranges.ok()) return false;
    for (size_t i = 0; i < ranges->size(); ++i) {
      if (!narrow(view, i, (*ranges)[i])) return false;
    }
    return true;
  }

  static size_t axis_of(const Node& node, const AxisView& view) {
    const int64_t axis = node.int_attribute("axis", 0);
    return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(view.axes.size()) : axis);
  }

  bool split(const Node& node, const std::string& output, AxisView& view) const {
    const size_t axis = axis_of(node, view);
    int64_t start = 0;
    for (const std::string& part : node.outputs) {
      if (part.empty()) return false;
      const int64_t length = shape(part)[axis];
      if (part == output) return narrow(view, axis, {start, 1, length});
      start += length;
    }
    return false;
  }

  bool gather(const Node& node, AxisView& view) const {
    const auto it = inference_.known.find(node.inputs[1]);
    if (it == inference_.known.end() || !it->second.shape.empty()) return false;
    const size_t axis = axis_of(node, view);
    const int64_t index = it->second.ints[0];
    const int64_t start = index < 0 ? index + axis_size(view.axes[axis]) : index;
    if (!narrow(view, axis, {start, 1, 1})) return false;
    view.axes.erase(view.axes.begin() + static_cast<std::ptrdiff_t>(axis));
    return true;
  }

  Matcher match_;
  const Graph& graph_;
  const Inference& inference_;
};

// One operand as heads of a value of `width` columns, beginning at column `column`.
struct Heads {
  std::string source;
  int64_t width = 0;
  int64_t column = 0;
  double scale = 1.0;
};

// Those origins whose view is [images, heads, tokens, size], or with the last two swapped for k.
std::vector<Heads> heads_of(const Tracer& tracer, const std::string& value, bool swapped) {
  const Shape& shape = tracer.shape(value);
  const int64_t tokens = shape[swapped ? 3 : 2];
  const int64_t size = shape[swapped ? 2 : 3];
  std::vector<Heads> found;
  for (const auto& origin : tracer.origins(value, shape[0], tokens)) {
    const int64_t width = tracer.shape(origin.source)[2];
    std::vector<int64_t> strides = {tokens * width, size, width, 1};
    if (swapped) std::swap(strides[2], strides[3]);
    bool fits = shape_of(origin.view) == shape && origin.view.offset < width;
    for (size_t i = 0; i < 4 && fits; ++i) {
      MergedAxis axis = origin.view.axes[i];
      join_runs(axis);
      fits = shape[i] == 1 || (axis.size() == 1 && axis[0].stride == strides[i]);
    }
    if (fits) found.push_back({origin.source, width, origin.view.offset, origin.scale});
  }
  return found;
}

struct Attention {
  std::vector<std::string> inputs;
  int64_t heads = 0;
  double scale = 1.0;
};

const Heads* find_heads(const std::vector<Heads>& all, const std::string& source, int64_t width,
                        int64_t column) {
  for (const Heads& h : all) {
    if ((source.empty() || h.source == source) && h.width == width && h.column == column) return &h;
  }
  return nullptr;
}

// `context` is the second product, [images, heads, tokens, size].
std::optional<Attention> find_attention(const Tracer& tracer, const Node& context) {
  const Matcher& match = tracer.match();
  if (tracer.shape(context.outputs[0]).size() != 4) return std::nullopt;
  const Node* softmax = match.producer(context.inputs[0], "Softmax");
  if (softmax == nullptr) return std::nullopt;
  const int64_t axis = softmax->int_attribute("axis", -1);
  if (axis != -1 && axis != 3) return std::nullopt;
  // Scaling of the scores, before the softmax.
  double scale = 1.0;
  const Node* scores = match.producer(softmax->inputs[0]);
  while (scores != nullptr && (scores->op == "Mul" || scores->op == "Div") &&
         tracer.moved_input(*scores) < 2) {
    const double number = match.with_scalar(*scores)->number;
    scale = scores->op == "Mul" ? scale * number : scale / number;
    scores = match.producer(scores->inputs[tracer.moved_input(*scores)]);
  }
  if (scores == nullptr || !scores->domain.empty() || scores->op != "MatMul") return std::nullopt;
  const Shape& q_shape = tracer.shape(scores->inputs[0]);
  const Shape& k_shape = tracer.shape(scores->inputs[1]);
  const Shape& v_shape = tracer.shape(context.inputs[1]);
  if (q_shape.size() != 4 || k_shape.size() != 4 || v_shape.size() != 4) return std::nullopt;
  const int64_t heads = q_shape[1];
  if (k_shape[0] != q_shape[0] || v_shape[0] != q_shape[0] || k_shape[1] != heads ||
      v_shape[1] != heads) {
    return std::nullopt;
  }
  const int64_t width = heads * q_shape[3];
  const auto qs = heads_of(tracer, scores->inputs[0], /*swapped=*/false);
  const auto ks = heads_of(tracer, scores->inputs[1], /*swapped=*/true);
  const auto vs = heads_of(tracer, context.inputs[1], /*swapped=*/false);
  const auto result = [&](const Heads& q, const Heads& k, const Heads& v,
                          std::vector<std::string> inputs) -> std::optional<Attention> {
    if (v.scale != 1.0) return std::nullopt;
    return Attention{std::move(inputs), heads, scale * q.scale * k.scale};
  };
  for (const Heads& q : qs) {
    const Heads* k = find_heads(ks, q.source, 3 * width, width);
    const Heads* v = find_heads(vs, q.source, 3 * width, 2 * width);
    if (q.width != 3 * width || q.column != 0 || k == nullptr || v == nullptr) continue;
    return result(q, *k, *v, {q.source});
  }
  const Heads* q = find_heads(qs, "", width, 0);
  const Heads* k = find_heads(ks, "", width, 0);
  const Heads* v = find_heads(vs, "", heads * v_shape[3], 0);
  if (q == nullptr || k == nullptr || v == nullptr) return std::nullopt;
  return result(*q, *k, *v, {q->source, k->source, v->source});
}

// A 0 in a Reshape's target copies a dimension of its input, of which there will be three, not
// four, and the third another.
bool keeps_its_meaning(const Graph& graph, const Node& reshape) {
  const Tensor* target = graph.find_initializer(reshape.inputs[1]);
  if (target == nullptr) return true;  // computed targets have been made of real sizes
  const auto sizes = to_int64_vector(*target);
  if (!sizes.ok()) return false;
  return sizes->size() < 3 || std::find(sizes->begin() + 2, sizes->end(), 0) == sizes->end();
}

}  // namespace

Result<Graph> fuse_attention(Graph graph) {
  PARE_ASSIGN_OR_RETURN(const Inference inference, infer_concrete(graph, kFirstBatch));
  const Graph before = graph;
  const Tracer tracer(before, inference);
  std::vector<Node> nodes;
  for (const Node& node : before.nodes) {
    nodes.push_back(node);
    // The end of the pattern: heads back beside one another, then merged by a Reshape.
    const Node* context = nullptr;
    if (node.domain.empty() && node.op == "Transpose" &&
        node.ints_attribute("perm") == std::vector<int64_t>{0, 2, 1, 3}) {
      context = tracer.match().producer(node.inputs[0], "MatMul");
    }
    const Node* merge = context == nullptr ? nullptr : tracer.match().only_reader(node.outputs[0]);
    if (merge == nullptr || !merge->domain.empty() || merge->op != "Reshape") continue;
    if (!keeps_its_meaning(before, *merge)) continue;
    const auto attention = find_attention(tracer, *context);
    if (!attention) continue;
    // The Reshape stays: its target may be another shape of the same elements. Here [N, T, H·E] it
    // changes nothing and drop_identities() takes it.
    Node& fused = nodes.back();
    fused.domain = "pare";
    fused.op = "Attention";
    fused.inputs = attention->inputs;
    fused.attributes = {{"num_heads", attention->heads},
                        {"scale", static_cast<float>(attention->scale)}};
  }
  graph.nodes = std::move(nodes);
  remove_unused(graph);
  return drop_identities(std::move(graph));
}

}  // namespace pare
