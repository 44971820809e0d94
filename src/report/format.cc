#include "report/format.h"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "base/numerals.h"

namespace pare {
namespace {

// About three significant digits, never an exponent.
std::string three_digits(double value) {
  const double size = std::abs(value);
  if (size >= 99.95) return fmt::format("{:.0f}", value);
  if (size >= 9.995) return fmt::format("{:.1f}", value);
  return fmt::format("{:.2f}", value);
}

}  // namespace

std::string percent_text(double percent) { return fmt::format("{:.2f} %", percent); }

std::string points_text(double points) {
  std::string size = fmt::format("{:.2f}", std::abs(points));
  if (size == "0.00") return size;
  return (points < 0 ? "−" : "+") + size;
}

std::string bytes_text(int64_t bytes) {
  const auto size = static_cast<double>(bytes);
  if (size >= 1e9) return fmt::format("{:.2f} GB", size / 1e9);
  if (size >= 1e5) return fmt::format("{:.2f} MB", size / 1e6);
  if (size >= 1e3) return fmt::format("{:.1f} kB", size / 1e3);
  return fmt::format("{} bytes", bytes);
}

std::string duration_text(double microseconds) {
  if (microseconds >= 1e6) return three_digits(microseconds / 1e6) + " s";
  if (microseconds >= 1e3) return three_digits(microseconds / 1e3) + " ms";
  return three_digits(microseconds) + " µs";
}

std::string seconds_text(double seconds) {
  if (seconds < 60) return three_digits(seconds) + " s";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string factor_text(double factor) {
  if (factor >= 99.5) return fmt::format("{:.0f}×", factor);
  return factor >= 9.95 ? fmt::format("{:.1f}×", factor) : fmt::format("{:.2f}×", factor);
}

std::string count_text(int64_t count) {
  const std::string text = with_thousands(count);
  return count < 0 ? "−" + text.substr(1) : text;
}

std::string p_value_text(double p) {
  if (p < 0.001) return "p < 0.001";
  return p < 0.1 ? fmt::format("p = {:.3f}", p) : fmt::format("p = {:.2f}", p);
}

std::string ascii(const std::string& text) {
  static constexpr struct {
    const char* from;
    const char* to;
  } kReplacements[] = {{"−", "-"}, {"×", "x"}, {"µ", "u"}, {"–", "-"}, {"…", "..."}};
  std::string out = text;
  for (const auto& r : kReplacements) {
    for (size_t at = out.find(r.from); at != std::string::npos; at = out.find(r.from, at)) {
      out.replace(at, std::char_traits<char>::length(r.from), r.to);
    }
  }
  // A name from a file must not steer the terminal.
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == '\x7f') c = '?';
  }
  return out;
}

}  // namespace pare
