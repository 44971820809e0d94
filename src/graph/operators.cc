#include "graph/operators.h"

#include <algorithm>
#include <string_view>

namespace pare {
namespace {

char kind_of(const Attribute& attribute) {
  static constexpr std::string_view kLetters = "ifstIFS";  // in the order of the variant
  return kLetters[attribute.index()];
}

const char* kind_name(char letter) {
  switch (letter) {
    case 'i':
      return "an integer";
    case 'f':
      return "a float";
    case 's':
      return "a string";
    case 't':
      return "a tensor";
    case 'I':
      return "a list of integers";
    case 'F':
      return "a list of floats";
    default:
      return "a list of strings";
  }
}

struct AttributeSpec {
  std::string_view name;
  char kind = 'i';
  bool required = false;
};

std::vector<AttributeSpec> parse_attributes(std::string_view text) {
  std::vector<AttributeSpec> specs;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    const size_t colon = word.find(':');
    specs.push_back({word.substr(0, colon), word[colon + 1], word.ends_with('!')});
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  return specs;
}

Status check_attributes(const Node& node, const Operator& op, const std::string& where) {
  const auto specs = parse_attributes(op.attributes);
  for (const AttributeSpec& spec : specs) {
    if (spec.required && !node.attributes.contains(std::string(spec.name))) {
      return invalid_argument(fmt::format("{}attribute {} is missing", where, spec.name));
    }
  }
  for (const auto& [name, value] : node.attributes) {
    // The alias: clang 14 lets no lambda capture a structured binding.
    const std::string& wanted = name;
    const auto it = std::find_if(specs.begin(), specs.end(),
                                 [&](const AttributeSpec& spec) { return spec.name == wanted; });
    if (it == specs.end()) {
      return unsupported(fmt::format("{}Pare does not know its attribute '{}'", where, name));
    }
    if (kind_of(value) != it->kind) {
      return invalid_argument(fmt::format("{}attribute {} is {}, expected {}", where, name,
                                          kind_name(kind_of(value)), kind_name(it->kind)));
    }
  }
  return ok_status();
}

std::string expected_count(int least, int most) {
  if (most == kAnyNumber) return fmt::format("at least {}", least);
  return least == most ? fmt::format("{}", least) : fmt::format("{} to {}", least, most);
}

}  // namespace

const std::vector<Operator>& all_operators() {
  static const std::vector<Operator> kOperators = {
#define OPERATOR(...) {__VA_ARGS__},
#include "graph/operators.inc"
#undef OPERATOR
  };
  return kOperators;
}

const Operator* find_operator(const std::string& domain, const std::string& name) {
  static const auto kIndex = [] {
    std::unordered_map<std::string, const Operator*> index;
    for (const Operator& op : all_operators()) {
      index[std::string(op.domain) + "." + op.name] = &op;
    }
    return index;
  }();
  const auto it = kIndex.find((domain == "ai.onnx" ? std::string() : domain) + "." + name);
  return it == kIndex.end() ? nullptr : it->second;
}

Status check_node(const Node& node) {
  const std::string where = fmt::format("node '{}' ({}): ", node.name, node.op);
  const Operator* op = find_operator(node.domain, node.op);
  if (op == nullptr) {
    return unsupported(fmt::format("{}Pare has no operator '{}{}{}'", where, node.domain,
                                   node.domain.empty() ? "" : ".", node.op));
  }
  const size_t inputs = node.inputs.size();
  if (inputs > 0 && node.inputs.back().empty()) {
    return invalid_argument(where + "its last input has no name");
  }
  if (static_cast<int>(inputs) < op->min_inputs ||
      (op->max_inputs != kAnyNumber && static_cast<int>(inputs) > op->max_inputs)) {
    return invalid_argument(fmt::format("{}{} inputs, expected {}", where, inputs,
                                        expected_count(op->min_inputs, op->max_inputs)));
  }
  const size_t required =
      op->max_inputs == kAnyNumber ? inputs : static_cast<size_t>(op->min_inputs);
  for (size_t i = 0; i < required; ++i) {
    if (node.inputs[i].empty()) {
      return invalid_argument(fmt::format("{}input {} is left out", where, i));
    }
  }
  const auto outputs = static_cast<int>(node.outputs.size());
  if (outputs < op->min_outputs || (op->max_outputs != kAnyNumber && outputs > op->max_outputs)) {
    return invalid_argument(fmt::format("{}{} outputs, expected {}", where, outputs,
                                        expected_count(op->min_outputs, op->max_outputs)));
  }
  if (node.outputs[0].empty()) return invalid_argument(where + "its first output has no name");
  return check_attributes(node, *op, where);
}

const KnownValue* RuleContext::known(size_t i) const {
  if (!has(i)) return nullptr;
  const auto it = known_.find(node_.inputs[i]);
  return it == known_.end() ? nullptr : &it->second;
}

Result<std::vector<int64_t>> RuleContext::ints(size_t i, const char* what) const {
  if (is_floating(type(i)) || rank(i) > 1) {
    return fail("input {} ({}) is {} of {}, expected a list of integers", i, what,
                dtype_name(type(i)), shape_string(shape(i)));
  }
  const KnownValue* value = known(i);
  if (value == nullptr) {
    return fail_unsupported("input {} ({}) depends on the image, so shapes are not fixed", i, what);
  }
  return value->ints;
}

void RuleContext::set(size_t i, DType type, Shape shape) {
  if (i >= outputs_.size()) return;
  outputs_[i] = {node_.outputs[i], type, std::move(shape)};
}

}  // namespace pare
