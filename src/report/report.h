// The report: records in, one HTML file out that needs nothing else, and the same figures as plain
// text. It computes every figure it shows from the records.
//
// To add a section: src/report/sections/<name>.cc with `std::string make_<name>_section(const
// Facts&)`, which returns HTML, or "" when the records say nothing about it; and one line in
// sections.inc.
#ifndef PARE_REPORT_REPORT_H_
#define PARE_REPORT_REPORT_H_

#include <string>
#include <vector>

#include "pare/status.h"

#include "records/record.h"

namespace pare {

struct ReportOptions {
  std::string title = "What paring cost, and what it gave";
};

Result<std::string> make_html_report(const std::vector<Record>& records,
                                     const ReportOptions& options = {});

// The trade-off tables, one a network, for a terminal: ASCII, 100 columns or so.
Result<std::string> make_text_tables(const std::vector<Record>& records);

}  // namespace pare

#endif  // PARE_REPORT_REPORT_H_
