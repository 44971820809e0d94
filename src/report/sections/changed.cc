// Test images whose answer changed: the image, its true class, what the baseline said and what each
// variant says now.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

constexpr size_t kMaxShown = 24;

// "int8, prune:0.9 → cat", one line an answer that differs from the baseline's.
std::map<int64_t, std::string> changed_answers(const Group& group, size_t index) {
  std::map<int64_t, std::string> variants;
  const PredictionsRecord& base = *group.base().predictions;
  for (const ModelFacts& model : group.models) {
    if (!model.predictions || model.predictions->data_hash != base.data_hash ||
        model.predictions->classes != base.classes) {
      continue;
    }
    if (index >= model.predictions->predicted.size()) continue;
    const int64_t answer = model.predictions->predicted[index];
    if (answer == base.predicted[index]) continue;
    std::string& names = variants[answer];
    names += (names.empty() ? "" : ", ") + model.name();
  }
  return variants;
}

std::string image_item(const PredictionsRecord& base, const ImageRecord& image,
                       const std::map<int64_t, std::string>& variants) {
  const auto at = static_cast<size_t>(image.index);
  const auto name = [&](int64_t c) { return escape_html(base.classes[static_cast<size_t>(c)]); };
  const auto mark = [&](int64_t c) {
    return c == base.labels[at] ? "<b class=\"right\">✓</b> " : "<b class=\"wrong\">✗</b> ";
  };
  std::string lines;
  for (const auto& [answer, names] : variants) {
    lines += fmt::format("<span>{}{} <small>{}</small></span>", mark(answer), name(answer),
                         escape_html(names));
  }
  return fmt::format(
      "<li><img alt=\"test image {0}: {1}\" "
      "src=\"data:image/png;base64,{2}\"><div><strong>{1}</strong>"
      "<span>{3}{4} <small>{5}</small></span>{6}</div></li>",
      image.index, name(base.labels[at]), image.png_base64, mark(base.predicted[at]),
      name(base.predicted[at]), "baseline", lines);
}

}  // namespace

std::string make_changed_section(const Facts& facts) {
  std::string out;
  for (const Group& group : facts.groups) {
    if (!group.base().predictions) continue;
    const PredictionsRecord& base = *group.base().predictions;
    std::string items;
    size_t shown = 0;
    for (const ImageRecord& image : facts.images) {
      const auto index = static_cast<size_t>(image.index);
      if (image.data_hash != base.data_hash || index >= base.labels.size() || shown == kMaxShown)
        continue;
      const auto variants = changed_answers(group, index);
      if (variants.empty()) continue;
      items += image_item(base, image, variants);
      ++shown;
    }
    if (items.empty()) continue;
    out += fmt::format("<h3>{}</h3>\n<ul class=\"gallery\">{}</ul>\n", escape_html(group.title()),
                       items);
  }
  if (out.empty()) return "";
  return html_paragraph(
             "A sample of the test images to which some variant gives another answer than the "
             "baseline. In "
             "bold the true class; ✓ and ✗ say which answers are right.") +
         out;
}

}  // namespace pare
