#include "cli/train_progress.h"

#include <fmt/format.h>

#include <algorithm>

namespace pare {
namespace {

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

std::string progress_text(const StepReport& report, std::optional<double> validation_top1,
                          size_t columns) {
  std::string text;
  for (const Form& form : kForms) {
    text = text_in(form, report, validation_top1);
    if (text.size() <= columns) return text;
  }
  return text.substr(0, columns);
}

void TrainProgress::wipe() { line_.clear(); }

void TrainProgress::step(const StepReport& report) {
  line_.show([&](size_t columns) { return progress_text(report, validation_top1_, columns); });
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
  line_.line(text);
}

void TrainProgress::note(const std::string& text) { line_.line(text); }

}  // namespace pare
