#include "cli/train_progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

namespace pare {

std::string clock_text(double seconds) {
  const auto s = static_cast<int64_t>(std::max(0.0, seconds) + 0.5);
  if (s >= 3600) return fmt::format("{}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60);
  return fmt::format("{}:{:02}", s / 60, s % 60);
}

std::string progress_text(const StepReport& r) {
  constexpr size_t kBarWidth = 20;
  const double done = static_cast<double>(r.step) / static_cast<double>(r.total_steps);
  const auto filled = static_cast<size_t>(done * static_cast<double>(kBarWidth));
  return fmt::format("epoch {}/{} [{}{}] {:3.0f} %  loss {:.4f}  {:.0f} images/s  {} left", r.epoch,
                     r.epochs, std::string(filled, '#'), std::string(kBarWidth - filled, '-'),
                     100 * done, r.loss, r.images_per_s, clock_text(r.eta_s));
}

void TrainProgress::line(const std::string& text) {
  // The bar is wiped, so that what stays on the screen are whole lines.
  if (bar_shown_) std::fputs("\r\033[K", stderr);
  bar_shown_ = false;
  fmt::print(stderr, "{}\n", text);
}

void TrainProgress::step(const StepReport& report) {
  using namespace std::chrono_literals;
  const auto now = std::chrono::steady_clock::now();
  if (now - last_ < (terminal_ ? 200ms : 30s)) return;
  last_ = now;
  if (!terminal_) return line(progress_text(report));
  fmt::print(stderr, "\r{}\033[K", progress_text(report));
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
  }
  line(text);
}

void TrainProgress::note(const std::string& text) { line(text); }

}  // namespace pare
