// The published figures of the experiment that Pare grew out of, beside ours.
#include <fmt/format.h>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

// As the talk states them; what the times cover it does not say.
struct Published {
  const char* net;
  const char* name;
  double top1;
  double top5;
  const char* time;
  const char* data;
};
constexpr Published kPublished[] = {
    {"alexnet", "AlexNet", 53.86, 89.49, "72.68 ms", "CIFAR-10"},
    {"vit-seed", "ViT", 18.78, 76.01, "1 min 26 s", "a quarter of CIFAR-10's training data"},
};

std::string own_times(const Group& group) {
  std::string out;
  const int64_t threads = group.threads().empty() ? 1 : group.threads().back();
  for (const int64_t batch : group.batches()) {
    const LatencyRecord* l = group.base().latency(batch, threads);
    if (l == nullptr) continue;
    out += fmt::format("{}{} a batch of {}", out.empty() ? "" : "; ",
                       duration_text(l->latency_us_p50), batch);
  }
  return out.empty() ? "–" : out;
}

}  // namespace

std::string make_seed_section(const Facts& facts) {
  std::vector<std::vector<Cell>> rows;
  for (const Published& p : kPublished) {
    std::vector<std::vector<Cell>> ours;
    for (const Group& group : facts.groups) {
      const AccuracyRecord* a = group.base().accuracy();
      if (group.net != p.net || a == nullptr) continue;
      ours.push_back({{.text = "Pare, " + group.base().name(), .note = group.net, .header = true},
                      {.text = percent_text(a->top1), .number = true},
                      {.text = percent_text(a->top5), .number = true},
                      {.text = own_times(group)},
                      {.text = group.trained_on.empty() ? "–" : group.trained_on}});
    }
    if (ours.empty()) continue;
    rows.push_back({{.text = std::string("Published, ") + p.name,
                     .note = "Tesla K80 in Colab",
                     .header = true},
                    {.text = percent_text(p.top1), .number = true},
                    {.text = percent_text(p.top5), .number = true},
                    {.text = p.time, .note = "what it covers is not said"},
                    {.text = p.data}});
    rows.insert(rows.end(), ours.begin(), ours.end());
  }
  if (rows.empty()) return "";
  return html_table("The published figures and ours",
                    {"Figures", "Top-1", "Top-5", "Time", "Trained on"}, rows) +
         html_paragraph(
             "The published times were taken on other hardware and it is not said what they cover, "
             "so they "
             "cannot be compared with ours.",
             "quiet");
}

}  // namespace pare
