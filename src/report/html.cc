#include "report/html.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstdint>

#include "base/utf8.h"

namespace pare {
namespace {

std::string attribute(const char* name, const std::string& value) {
  return value.empty() ? "" : fmt::format(" {}=\"{}\"", name, escape_html(value));
}

std::string html_cell(const Cell& cell) {
  const char* tag = cell.header ? "th" : "td";
  std::string css = cell.css_class;
  if (cell.number) css += css.empty() ? "number" : " number";
  std::string note;
  if (!cell.note.empty()) note = fmt::format("<small>{}</small>", escape_html(cell.note));
  return fmt::format("<{}{}{}{}>{}{}</{}>", tag, cell.header ? " scope=\"row\"" : "",
                     attribute("class", css), attribute("style", cell.style),
                     (cell.header ? escape_name(cell.text) : escape_html(cell.text)), note, tag);
}

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const size_t length = utf8_length(text, i);
    const char c = text[i];
    if (length == 0 || (length == 1 && static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\t') ||
        c == '\x7f') {
      out += "\xEF\xBF\xBD";
      ++i;
      continue;
    }
    if (length > 1) {
      out += text.substr(i, length);
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '>') {
      out += "&gt;";
    } else if (c == '&') {
      out += "&amp;";
    } else if (c == '"') {
      out += "&quot;";
    } else if (c == '\'') {
      out += "&#39;";
    } else {
      out += c;
    }
    i += length;
  }
  return out;
}

std::string escape_name(std::string_view name) {
  std::string out;
  for (const char c : escape_html(name)) {
    out += c;
    if (c == ',' || c == '+') out += "<wbr>";
  }
  return out;
}

std::string script_json(const nlohmann::json& json) {
  const std::string plain = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::string out;
  out.reserve(plain.size());
  for (const char c : plain) {
    if (c == '<') {
      out += "\\u003c";
    } else if (c == '>') {
      out += "\\u003e";
    } else if (c == '&') {
      out += "\\u0026";
    } else {
      out += c;
    }
  }
  return out;
}

std::string html_table(const std::string& caption, const std::vector<std::string>& columns,
                       const std::vector<std::vector<Cell>>& rows, const std::string& css_class) {
  std::string out = fmt::format(
      "<div class=\"table\"><p class=\"caption\">{0}</p><div class=\"table-frame\" tabindex=\"0\" "
      "role=\"group\" aria-label=\"{0}\"><table{1}><thead><tr>",
      escape_html(caption), attribute("class", css_class));
  for (size_t i = 0; i < columns.size(); ++i) {
    const bool number = !rows.empty() && i < rows[0].size() && rows[0][i].number;
    out += fmt::format("<th scope=\"col\"{0}><span title=\"{1}\">{1}</span></th>",
                       number ? " class=\"number\"" : "", escape_html(columns[i]));
  }
  out += "</tr></thead><tbody>";
  for (const auto& row : rows) {
    out += "<tr>";
    for (const Cell& cell : row) out += html_cell(cell);
    out += "</tr>";
  }
  return out + "</tbody></table></div></div>\n";
}

std::string html_chart(const std::string& title, const std::string& about,
                       const std::string& description, const nlohmann::json& spec) {
  return fmt::format(
      "<figure class=\"chart\"><figcaption>{}<small>{}</small></figcaption><div "
      "class=\"choices\"></div>"
      "<div class=\"canvas-frame\"><canvas tabindex=\"0\" role=\"img\" "
      "aria-label=\"{}\"></canvas></div>"
      "<script type=\"application/json\">{}</script></figure>\n",
      escape_html(title), escape_html(about), escape_html(description), script_json(spec));
}

std::string html_paragraph(const std::string& text, const std::string& css_class) {
  return fmt::format("<p{}>{}</p>\n", attribute("class", css_class), escape_html(text));
}

}  // namespace pare
