// Records: the one schema of everything measured. A record is one line of JSON in a file of lines;
// the report reads nothing else, and peers (ONNX Runtime, OpenVINO, PyTorch) write the same.
//
// Every record has "kind" and "context" (machine, processor, commit, version, date). The kinds and
// their fields are listed in docs/file-formats.md and checked when read: a field that is missing or
// of the wrong type is named with its file and line.
#ifndef PARE_RECORDS_RECORD_H_
#define PARE_RECORDS_RECORD_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

using Json = nlohmann::json;

struct Record {
  std::string kind;  // "accuracy", "latency", "size", "epoch", "layer", "predictions", "step"
  Json context;
  Json fields;
};

// Machine, processor, instruction sets, cores, version, commit and date of this run.
Json current_context();

// Appends one line, whole, and syncs.
Status append_record(const std::string& path, const Record& record);
// All records of a file; a last line cut short by a crash is ignored and said so in `warnings`.
Result<std::vector<Record>> read_records(const std::string& path,
                                         std::vector<std::string>* warnings = nullptr);
// Kind and fields as the schema demands.
Status check_record(const Record& record);

}  // namespace pare

#endif  // PARE_RECORDS_RECORD_H_
