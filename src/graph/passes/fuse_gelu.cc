// GELU is recognised by its algebra, not by one order of its nodes: the last multiplication is seen
// as a product of factors, one of which is 1 + erf(p(x)) or 1 + tanh(p(x)), and p as a polynomial.
#include <array>
#include <cmath>

#include "graph/opset.h"
#include "graph/passes.h"
#include "graph/passes/matcher.h"

namespace pare {
namespace {

constexpr int kMaxDepth = 8;

// c[0] + c[1] x + c[2] x² + c[3] x³
using Polynomial = std::array<double, 4>;

std::optional<Polynomial> times(const Polynomial& a, const Polynomial& b) {
  Polynomial out{};
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < b.size(); ++j) {
      const double product = a[i] * b[j];
      if (product == 0.0) continue;
      if (i + j >= out.size()) return std::nullopt;
      out[i + j] += product;
    }
  }
  return out;
}

// `value` as a polynomial in `x`; nullopt when it is none of degree 3 or less.
std::optional<Polynomial> polynomial(const Matcher& match, const std::string& value,
                                     const std::string& x, int depth = 0) {
  if (value == x) return Polynomial{0.0, 1.0, 0.0, 0.0};
  if (const auto number = match.scalar(value)) return Polynomial{*number, 0.0, 0.0, 0.0};
  const Node* node = match.producer(value);
  if (node == nullptr || !node->domain.empty() || depth > kMaxDepth || node->inputs.size() != 2) {
    return std::nullopt;
  }
  const auto a = polynomial(match, node->inputs[0], x, depth + 1);
  const auto b = polynomial(match, node->inputs[1], x, depth + 1);
  if (!a || !b) return std::nullopt;
  if (node->op == "Mul") return times(*a, *b);
  if (node->op == "Add" || node->op == "Sub") {
    Polynomial out = *a;
    for (size_t i = 0; i < out.size(); ++i) out[i] += node->op == "Add" ? (*b)[i] : -(*b)[i];
    return out;
  }
  const bool b_is_number = (*b)[1] == 0.0 && (*b)[2] == 0.0 && (*b)[3] == 0.0;
  if (!b_is_number) return std::nullopt;
  if (node->op == "Div") return times(*a, {1.0 / (*b)[0], 0.0, 0.0, 0.0});
  if (node->op == "Pow" && (*b)[0] == 2.0) return times(*a, *a);
  if (node->op == "Pow" && (*b)[0] == 3.0) {
    const auto square = times(*a, *a);
    return square ? times(*square, *a) : std::nullopt;
  }
  return std::nullopt;
}

bool is_polynomial(const std::optional<Polynomial>& found, const Polynomial& expected) {
  if (!found) return false;
  for (size_t i = 0; i < expected.size(); ++i) {
    // Twice the tolerance of one constant, since some forms multiply two.
    const double slack = 0x1p-10 * std::abs(expected[i]);
    if (std::abs((*found)[i] - expected[i]) > slack) return false;
  }
  return true;
}

// The Erf or Tanh node u of a factor 1 + u, when `value` is one.
const Node* one_plus(const Matcher& match, const std::string& value) {
  const Node* add = match.producer(value, "Add");
  if (add == nullptr) return nullptr;
  const auto sum = match.with_scalar(*add);
  if (!sum || !is_number(sum->number, 1.0)) return nullptr;
  const Node* erf = match.producer(sum->value, "Erf");
  return erf != nullptr ? erf : match.producer(sum->value, "Tanh");
}

struct Product {
  double number = 1.0;
  std::vector<std::string> factors;
};

// Multiplies out Mul, and Div by a number, down to factors that are neither, and to `stop`.
void collect_factors(const Matcher& match, const std::string& value, const std::string& stop,
                     Product& product, int depth = 0) {
  if (const auto number = match.scalar(value)) {
    product.number *= *number;
    return;
  }
  const Node* node = value == stop || depth > kMaxDepth ? nullptr : match.producer(value);
  if (node != nullptr && node->domain.empty() && node->op == "Mul") {
    for (const std::string& factor : node->inputs) {
      collect_factors(match, factor, stop, product, depth + 1);
    }
    return;
  }
  if (node != nullptr && node->domain.empty() && node->op == "Div") {
    if (const auto number = match.scalar(node->inputs[1])) {
      product.number /= *number;
      collect_factors(match, node->inputs[0], stop, product, depth + 1);
      return;
    }
  }
  product.factors.push_back(value);
}

struct Gelu {
  std::string x;
  bool tanh = false;
};

bool is_gelu_argument(const Matcher& match, const Node& function, const std::string& x) {
  const auto p = polynomial(match, function.inputs[0], x);
  if (function.op == "Erf") return is_polynomial(p, {0.0, M_SQRT1_2, 0.0, 0.0});
  const double root = std::sqrt(2.0 / M_PI);
  return is_polynomial(p, {0.0, root, 0.0, root * 0.044715});
}

// Is the value that `node` writes x/2 · (1 + f(p(x)))?
std::optional<Gelu> find_gelu(const Matcher& match, const Node& node) {
  if (!node.domain.empty() || (node.op != "Mul" && node.op != "Div")) return std::nullopt;
  Product all;
  collect_factors(match, node.outputs[0], "", all);
  const Node* function = nullptr;
  for (const std::string& factor : all.factors) {
    if (const Node* found = one_plus(match, factor)) function = found;
  }
  if (function == nullptr) return std::nullopt;
  // x itself may be a product; whichever value above the function's argument fits is taken.
  std::vector<std::string> candidates = all.factors;
  for (const Node* up = match.producer(function->inputs[0]); up != nullptr;) {
    candidates.insert(candidates.end(), up->inputs.begin(), up->inputs.end());
    up = up->inputs.empty() || candidates.size() > 16 ? nullptr : match.producer(up->inputs[0]);
  }
  for (const std::string& x : candidates) {
    if (x.empty() || match.scalar(x) || !is_gelu_argument(match, *function, x)) continue;
    Product product;
    collect_factors(match, node.outputs[0], x, product);
    if (!is_number(product.number, 0.5) || product.factors.size() != 2) continue;
    const size_t at = product.factors[0] == x ? 0 : 1;
    if (product.factors[at] == x && one_plus(match, product.factors[1 - at]) == function) {
      return Gelu{x, function->op == "Tanh"};
    }
  }
  return std::nullopt;
}

}  // namespace

Result<Graph> fuse_gelu(Graph graph) {
  const Graph before = graph;
  const Matcher match(before);
  bool found = false;
  for (size_t i = 0; i < before.nodes.size(); ++i) {
    const auto gelu = find_gelu(match, before.nodes[i]);
    if (!gelu) continue;
    found = true;
    Node& node = graph.nodes[i];
    node.op = "Gelu";
    node.inputs = {gelu->x};
    node.attributes = {{"approximate", std::string(gelu->tanh ? "tanh" : "none")}};
  }
  remove_unused(graph);
  if (found) raise_opset(graph, 20);
  return graph;
}

}  // namespace pare
