// Records: lines of JSON. One that is read must be written so that it is read again, the same.
#include "records/record.h"
#include "targets.h"

bool fuzz_records(std::span<const std::byte> bytes) {
  const std::string line(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto record = pare::parse_record(line, "fuzz:1");
  if (!record.ok()) return false;
  const std::string again = pare::record_line(*record);
  const auto reread = pare::parse_record(again, "fuzz:1");
  require(reread.ok() && pare::record_line(*reread) == again);
  return true;
}
