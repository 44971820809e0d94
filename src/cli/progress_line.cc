#include "cli/progress_line.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <limits>

namespace pare {
namespace {

// Asked for each time: a window may be drawn wider or narrower meanwhile.
size_t terminal_columns() {
  constexpr size_t kUsual = 80;
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : kUsual;
}

}  // namespace

bool stderr_is_terminal() { return isatty(STDERR_FILENO) != 0; }

void ProgressLine::show(const std::function<std::string(size_t)>& text) {
  using namespace std::chrono_literals;
  if (!terminal_ && elsewhere_ == Elsewhere::kQuiet) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (terminal_ ? 200ms : 30s)) return;
  last_ = now;
  if (!terminal_) return line(text(std::numeric_limits<size_t>::max()));
  // One column stays free: a cursor at the edge would begin another line.
  const size_t columns = terminal_columns() - 1;
  fmt::print(stderr, "\r{}\033[K", text(columns).substr(0, columns));
  std::fflush(stderr);
  shown_ = true;
}

void ProgressLine::line(const std::string& text) {
  clear();
  fmt::print(stderr, "{}\n", text);
}

void ProgressLine::clear() {
  // The bar is wiped, so that what stays on the screen are whole lines.
  if (shown_) std::fputs("\r\033[K", stderr);
  shown_ = false;
}

std::string progress_bar(int64_t done, int64_t total) {
  constexpr size_t kWidth = 20;
  const double share = static_cast<double>(done) / static_cast<double>(std::max<int64_t>(1, total));
  const auto filled = static_cast<size_t>(std::clamp(share, 0.0, 1.0) * kWidth);
  return fmt::format("[{}{}] {:3.0f} %", std::string(filled, '#'),
                     std::string(kWidth - filled, '-'), 100 * share);
}

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

}  // namespace pare
