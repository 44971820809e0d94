// pare report: records in, report.html out.

#include "report/report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <map>
#include <memory>
#include <vector>

#include "base/file.h"
#include "cli/command.h"
#include "records/record.h"

namespace pare {
namespace {

struct ReportArguments {
  std::vector<std::string> inputs;
  std::string output = "report.html";
  std::string title = ReportOptions{}.title;
  bool tables = false;
};

// "3 epoch, 1 step"
std::string counts(const std::vector<Record>& records) {
  std::map<std::string, int> by_kind;
  for (const Record& record : records) ++by_kind[record.kind];
  std::string text;
  for (const auto& [kind, count] : by_kind) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, kind);
  }
  return text;
}

Status run_report(const ReportArguments& options) {
  if (!options.tables) PARE_RETURN_IF_ERROR(check_can_write(options.output));
  std::vector<Record> records;
  std::vector<std::string> warnings;
  for (const std::string& input : options.inputs) {
    PARE_ASSIGN_OR_RETURN(std::vector<Record> more, read_records(input, &warnings));
    records.insert(records.end(), more.begin(), more.end());
  }
  for (const std::string& warning : warnings) std::fprintf(stderr, "pare: %s\n", warning.c_str());
  const std::string inputs = fmt::format("{}", fmt::join(options.inputs, ", "));
  if (records.empty()) return not_found(inputs + ": no records in it");
  if (options.tables) {
    PARE_ASSIGN_OR_RETURN(const std::string tables, make_text_tables(records));
    if (tables.empty()) {
      return not_found(
          fmt::format("{}: the tables are of measured models (accuracy, latency, size); found {} "
                      "records, which the report shows without --tables",
                      inputs, counts(records)));
    }
    std::fputs(tables.c_str(), stdout);
    return ok_status();
  }
  PARE_ASSIGN_OR_RETURN(const std::string html,
                        make_html_report(records, {.title = options.title}));
  PARE_RETURN_IF_ERROR(write_file(options.output, html));
  std::printf("%s\n", options.output.c_str());
  return ok_status();
}

}  // namespace

Command make_report_command() {
  return {.name = "report",
          .summary = "Make one offline HTML file, or plain tables, from records",
          .examples =
              "  pare report runs/study-default/records.jsonl -o report.html\n"
              "  pare report ours.jsonl peers.jsonl --tables\n",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto options = std::make_shared<ReportArguments>();
            app.add_option("RECORDS", options->inputs, "Files of records, one JSON object a line")
                ->required();
            app.add_option("-o,--output", options->output, "The HTML file")->capture_default_str();
            app.add_option("--title", options->title, "The report's title")->capture_default_str();
            app.add_flag("--tables", options->tables, "Print plain text instead of writing HTML");
            return [options] { return run_report(*options); };
          }};
}

}  // namespace pare
