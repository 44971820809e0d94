// How the report writes figures: the same in sentences, tables and charts.
#ifndef PARE_REPORT_FORMAT_H_
#define PARE_REPORT_FORMAT_H_

#include <cstdint>
#include <string>

namespace pare {

std::string percent_text(double percent);        // "92.06 %"
std::string points_text(double points);          // "+0.10", "−0.05", "0.00": percentage points
std::string bytes_text(int64_t bytes);           // "93.96 MB" (10^6 bytes), "4.1 kB"
std::string duration_text(double microseconds);  // "4.35 ms", "87 µs", "1.20 s"
std::string seconds_text(double seconds);        // "8.2 s", "2 min 5 s"
std::string factor_text(double factor);          // "4.8×", "120×"
std::string count_text(int64_t count);           // "23,490,378"
std::string p_value_text(double p);              // "p = 0.53", "p < 0.001"

// For terminals that may know no more than ASCII: "−" as "-", "×" as "x", "µ" as "u"; control
// characters become "?".
std::string ascii(const std::string& text);

}  // namespace pare

#endif  // PARE_REPORT_FORMAT_H_
