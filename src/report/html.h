// HTML made so that nothing from outside (class names, model names, errors) can be read as markup.
#ifndef PARE_REPORT_HTML_H_
#define PARE_REPORT_HTML_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace pare {

// For text and for attribute values in double quotes. Bytes that are not UTF-8 and control
// characters become U+FFFD.
std::string escape_html(std::string_view text);

// The same for the name of a variant or layer, which may be long: a line may break behind each part
// of it.
std::string escape_name(std::string_view name);

// JSON that may stand inside <script type="application/json">: "<", ">" and "&" are written as
// escapes, so no "</script>" or "<!--" can occur.
std::string script_json(const nlohmann::json& json);

// A cell of a table. `text` is escaped; `note` is shown small beneath it; `style` is ours.
struct Cell {
  std::string text;
  std::string note;
  bool number = false;
  bool header = false;
  std::string css_class;  // one of the style sheet's
  std::string style;      // such as "--v:0.4"
};

// A table whose page does not grow with it: wider ones scroll within their frame. `caption` says
// what it shows.
std::string html_table(const std::string& caption, const std::vector<std::string>& columns,
                       const std::vector<std::vector<Cell>>& rows,
                       const std::string& css_class = "");

// A chart as report.js draws it from `spec`. `about` says below the title which models it shows and
// what they were trained on; `description` is read out in the chart's stead.
std::string html_chart(const std::string& title, const std::string& about,
                       const std::string& description, const nlohmann::json& spec);

std::string html_paragraph(const std::string& text, const std::string& css_class = "");

}  // namespace pare

#endif  // PARE_REPORT_HTML_H_
