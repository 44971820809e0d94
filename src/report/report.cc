#include "report/report.h"

#include <fmt/format.h>

#include "report/facts.h"
#include "report/html.h"

namespace pare {

// report.css, report.js and Chart.js, embedded by the build (cmake/write_embedded.cmake).
extern const char kReportCss[];
extern const char kReportJs[];
extern const char kChartJs[];

#define PARE_SECTION(name, title) std::string make_##name##_section(const Facts& facts);
#include "report/sections.inc"
#undef PARE_SECTION

namespace {

struct Section {
  const char* name;
  const char* title;
  std::string (*make)(const Facts& facts);
};

constexpr Section kSections[] = {
#define PARE_SECTION(name, title) {#name, title, make_##name##_section},
#include "report/sections.inc"
#undef PARE_SECTION
};

// Nothing may be fetched, whatever the records say.
constexpr const char* kPolicy =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

std::string subtitle(const Facts& facts) {
  std::string out;
  if (facts.contexts.size() == 1) {
    const Json& context = facts.contexts[0];
    out = context.value("processor", "") + " · Pare " + context.value("version", "") +
          " · commit " + context.value("commit", "");
  } else if (!facts.contexts.empty()) {
    out = fmt::format("{} different machines or versions", facts.contexts.size());
  }
  if (!facts.last_date.empty()) out += " · " + facts.last_date.substr(0, 10);
  return out;
}

}  // namespace

Result<std::string> make_html_report(const std::vector<Record>& records,
                                     const ReportOptions& options) {
  PARE_ASSIGN_OR_RETURN(const Facts facts, gather_facts(records));
  std::string links;
  std::string body;
  for (const Section& section : kSections) {
    const std::string content = section.make(facts);
    if (content.empty()) continue;
    links +=
        fmt::format("<li><a href=\"#{}\">{}</a></li>", section.name, escape_html(section.title));
    body += fmt::format("<section id=\"{0}\"><h2>{1}</h2>\n{2}</section>\n", section.name,
                        escape_html(section.title), content);
  }
  if (body.empty()) body = html_paragraph("The records hold nothing to show.");
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta name=\"color-scheme\" content=\"light dark\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">"
      "<title>{title}</title>\n<style>{css}</style></head>\n<body>"
      "<header><p class=\"brand\">Pare</p><h1>{title}</h1>{subtitle}</header>\n"
      "<nav aria-label=\"Sections\"><ul>{links}</ul></nav>\n<main>{body}</main>\n"
      "<footer><p>Made by <code>pare report</code> from {count} records. Charts by Chart.js (MIT "
      "licence).</p></footer>\n"
      "<script>{chart}</script>\n<script>{script}</script></body></html>\n",
      fmt::arg("policy", kPolicy), fmt::arg("title", escape_html(options.title)),
      fmt::arg("css", kReportCss), fmt::arg("subtitle", html_paragraph(subtitle(facts), "quiet")),
      fmt::arg("links", links), fmt::arg("body", body), fmt::arg("count", records.size()),
      fmt::arg("chart", kChartJs), fmt::arg("script", kReportJs));
}

}  // namespace pare
