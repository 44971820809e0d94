// Training curves.
#include <fmt/format.h>

#include <functional>
#include <set>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

Json series(const Facts& facts,
            const std::function<std::optional<double>(const EpochRecord&)>& value) {
  Json out = Json::array();
  for (const TrainingRun& run : facts.runs) {
    Json points = Json::array();
    for (const EpochRecord& epoch : run.epochs) {
      if (const auto y = value(epoch)) points.push_back({epoch.epoch, *y});
    }
    if (!points.empty()) out.push_back({{"label", run.net}, {"points", points}});
  }
  return out;
}

std::string curve(const std::string& title, const std::string& about, const std::string& y_label,
                  const Json& all) {
  if (all.empty()) return "";
  const Json spec = {{"type", "lines"}, {"x", "epoch"}, {"y", y_label}, {"series", all}};
  return html_chart(title, about,
                    title + " by epoch; the table below has the last epoch's figures.", spec);
}

}  // namespace

std::string make_training_section(const Facts& facts) {
  if (facts.runs.empty()) return "";
  std::vector<std::vector<Cell>> rows;
  std::set<std::string> data;
  for (const TrainingRun& run : facts.runs) {
    const EpochRecord& last = run.epochs.back();
    double seconds = 0;
    for (const EpochRecord& epoch : run.epochs) seconds += epoch.seconds;
    data.insert(run.data);
    rows.push_back(
        {{.text = run.net, .note = run.data, .header = true},
         {.text = run.recipe.empty() ? "–" : run.recipe},
         {.text = fmt::format("{} of {}", last.epoch, last.epochs), .number = true},
         {.text = fmt::format("{:.3f}", last.train_loss), .number = true},
         {.text = last.validation_top1 ? percent_text(*last.validation_top1) : "–", .number = true},
         {.text = last.validation_top5 ? percent_text(*last.validation_top5) : "–", .number = true},
         {.text = seconds_text(seconds), .number = true}});
  }
  std::string on;
  for (const std::string& d : data) on += (on.empty() ? "trained on " : "; ") + d;
  return "<div class=\"pair\">" +
         curve("Accuracy on the test images", on, "top-1, %",
               series(facts, [](const EpochRecord& e) { return e.validation_top1; })) +
         curve("Training loss", on, "loss",
               series(facts,
                      [](const EpochRecord& e) { return std::optional<double>(e.train_loss); })) +
         "</div>\n" +
         html_table("Training runs",
                    {"Network", "Recipe", "Epochs", "Loss", "Top-1", "Top-5", "Time"}, rows);
}

}  // namespace pare
