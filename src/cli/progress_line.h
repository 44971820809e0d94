// One line on stderr that renews itself while something long runs, and whole lines between.
#ifndef PARE_CLI_PROGRESS_LINE_H_
#define PARE_CLI_PROGRESS_LINE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace pare {

// Whether stderr is a terminal.
bool stderr_is_terminal();

class ProgressLine {
 public:
  enum class Elsewhere { kQuiet, kPlainLines };
  // On a terminal the line is renewed five times a second at most; elsewhere there is nothing, or a
  // plain line every 30 seconds.
  ProgressLine(bool terminal, Elsewhere elsewhere) : terminal_(terminal), elsewhere_(elsewhere) {}
  ~ProgressLine() { clear(); }
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;

  // Shows the text, unless it is too early to; only then is it made. It is given the columns it may
  // take; what is longer is cut.
  void show(const std::function<std::string(size_t columns)>& text);
  // A line that stays.
  void line(const std::string& text);
  // Wipes the renewing line.
  void clear();

 private:
  bool terminal_;
  Elsewhere elsewhere_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point last_{};
};

// "[#####-----]  52 %"
std::string progress_bar(int64_t done, int64_t total);
// "1:02:03", "2:05"
std::string clock_text(double seconds);

}  // namespace pare

#endif  // PARE_CLI_PROGRESS_LINE_H_
