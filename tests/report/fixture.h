// A made-up study for the report's tests: every figure is small enough to be checked by hand.
#ifndef PARE_TESTS_REPORT_FIXTURE_H_
#define PARE_TESTS_REPORT_FIXTURE_H_

#include <string>
#include <vector>

#include "records/record.h"
#include "records/schema.h"

namespace pare::report_fixture {

struct Variant {
  std::string name;
  int64_t mistakes;  // beyond the baseline's
  double latency_us;
  int64_t file_bytes;
};

// Class names as an attacker would choose them.
std::vector<std::string> hostile_classes();

// Two networks, one of them trained on little data, nine variants, every kind of record.
std::vector<Record> whole_study();

// One network, two variants, 20 images in two classes: the baseline has 18 right; "int8" loses two
// of them and gains one.
std::vector<Record> small_study();

}  // namespace pare::report_fixture

#endif  // PARE_TESTS_REPORT_FIXTURE_H_
