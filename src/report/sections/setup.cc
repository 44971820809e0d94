// How it was measured: machine, commit, data, settings, and the study's steps.
#include <fmt/format.h>

#include <set>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"

namespace pare {
namespace {

std::string term(const std::string& name, const std::string& value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape_html(name), escape_html(value));
}

std::string context_list(const Json& context) {
  std::string out;
  for (const char* key :
       {"processor", "cores", "instruction_sets", "system", "version", "commit"}) {
    const auto found = context.find(key);
    if (found == context.end()) continue;
    std::string name = key;
    for (char& c : name) c = c == '_' ? ' ' : c;
    out += term(name, found->is_string()
                          ? found->get<std::string>()
                          : found->dump(-1, ' ', false, Json::error_handler_t::replace));
  }
  return "<dl class=\"facts\">" + out + "</dl>\n";
}

std::string settings_list(const Facts& facts) {
  std::set<std::string> timed, trained;
  for (const Group& group : facts.groups) {
    if (!group.trained_on.empty()) trained.insert(group.net + ": " + group.trained_on);
    for (const ModelFacts& model : group.models) {
      for (const LatencyRecord& l : model.latencies) {
        timed.insert(fmt::format("batch {}, {} threads: {} different images in rotation ({})",
                                 l.batch, l.threads, count_text(l.images), l.data));
      }
    }
  }
  std::string out;
  for (const std::string& d : facts.data) out += term("accuracy measured on", d);
  for (const std::string& t : timed) out += term("timed at", t);
  for (const std::string& t : trained) out += term("trained on", t);
  if (!facts.first_date.empty())
    out += term("measured", facts.first_date + " to " + facts.last_date);
  return "<dl class=\"facts\">" + out + "</dl>\n";
}

std::string steps_table(const Facts& facts) {
  if (facts.steps.empty()) return "";
  std::vector<std::vector<Cell>> rows;
  double total = 0;
  for (const StepRecord& step : facts.steps) {
    if (step.status == "ran") total += step.seconds;
    rows.push_back(
        {{.text = step.step, .header = true},
         {.text = step.status},
         {.text = step.cause, .css_class = "wide"},
         {.text = step.status == "ran" ? seconds_text(step.seconds) : "–", .number = true}});
  }
  return fmt::format("<details><summary>Steps of the study: {}, {} in all</summary>{}</details>\n",
                     rows.size(), escape_html(seconds_text(total)),
                     html_table("Steps of the study", {"Step", "Status", "Why", "Time"}, rows));
}

}  // namespace

std::string make_setup_section(const Facts& facts) {
  std::string out;
  for (const Json& context : facts.contexts) out += context_list(context);
  out += settings_list(facts) + steps_table(facts);
  out += html_paragraph(
      "Accuracies carry 95 % Wilson score intervals; changes are paired, image by image, with "
      "Newcombe's interval and McNemar's exact test. Times are medians; on a shared machine only "
      "their "
      "ratios mean something.",
      "quiet");
  return facts.contexts.empty() ? "" : out;
}

}  // namespace pare
