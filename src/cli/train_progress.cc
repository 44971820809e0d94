#include "cli/train_progress.h"

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

// What of the line is shown; the later ones in kForms are shorter.
struct Form {
  size_t bar;
  bool speed;
  bool top1;
};
constexpr Form kForms[] = {
    {20, true, true}, {10, true, true}, {10, false, true}, {0, false, true}, {0, false, false}};

std::string text_in(const Form& form, const StepReport& r, std::optional<double> validation_top1) {
  const double done = static_cast<double>(r.step) / static_cast<double>(r.total_steps);
  std::string text = fmt::format("epoch {}/{} ", r.epoch, r.epochs);
  if (form.bar > 0) {
    const auto filled = static_cast<size_t>(done * static_cast<double>(form.bar));
    text += fmt::format("[{}{}] ", std::string(filled, '#'), std::string(form.bar - filled, '-'));
  }
  text += fmt::format("{:3.0f} %  loss {:.4f}", 100 * done, r.loss);
  if (form.top1 && validation_top1) text += fmt::format("  top-1 {:.2f} %", *validation_top1);
  if (form.speed) text += fmt::format("  {:.0f} images/s", r.images_per_s);
  return text + fmt::format("  {} left", clock_text(r.eta_s));
}

}  // namespace

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string progress_text(const StepReport& report, std::optional<double> validation_top1,
                          size_t columns) {
  std::string text;
  for (const Form& form : kForms) {
    text = text_in(form, report, validation_top1);
    if (text.size() <= columns) return text;
  }
  return text.substr(0, columns);
}

void TrainProgress::wipe() {
  if (bar_shown_) std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
}

// What stays on the screen are whole lines.
void TrainProgress::line(const std::string& text) {
  wipe();
  fmt::print(stderr, "{}\n", text);
}

void TrainProgress::step(const StepReport& report) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (terminal_ ? 200ms : 30s)) return;
  last_ = now;
  if (!terminal_) {
    return line(progress_text(report, validation_top1_, std::numeric_limits<size_t>::max()));
  }
  // One column stays free: a cursor at the edge would begin another line.
  const std::string text = progress_text(report, validation_top1_, terminal_columns() - 1);
  fmt::print(stderr, "\r{}\033[K", text);
  std::fflush(stderr);
  bar_shown_ = true;
}

void TrainProgress::epoch(const EpochReport& e) {
  std::string text = fmt::format("epoch {}/{}  {}  loss {:.4f}  {:.0f} images/s", e.epoch, e.epochs,
                                 clock_text(e.seconds), e.train_loss,
                                 static_cast<double>(e.images) / std::max(1e-9, e.seconds));
  if (e.validation_top1) {
    text += fmt::format("  validation: loss {:.4f}, top-1 {:.2f} %", *e.validation_loss,
                        *e.validation_top1);
    validation_top1_ = e.validation_top1;
  }
  line(text);
}

void TrainProgress::note(const std::string& text) { line(text); }

}  // namespace pare
