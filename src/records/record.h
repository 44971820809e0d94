// Records: the one schema of everything measured. A record is one line of JSON in a file of lines;
// the report reads nothing else, and peers (ONNX Runtime, OpenVINO, PyTorch) write the same.
//
//   {"kind":"latency","context":{"processor":"…",…},"model":"alexnet int8","batch":1,…}
//
// Every record has "kind" and "context" (machine, commit, version, date); the other fields stand
// beside them. The kinds and their fields are the structs of schema.h, listed in
// docs/file-formats.md; they are checked when written and when read.
#ifndef PARE_RECORDS_RECORD_H_
#define PARE_RECORDS_RECORD_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

using Json = nlohmann::json;

struct Record {
  std::string kind;  // "accuracy", "latency", … : record_kinds() in schema.h
  Json context;      // an object, as current_context() makes it
  Json fields;       // an object: everything but kind and context
};

// Processor, cores, instruction sets, system, Pare's version and commit, date (UTC) of this run.
Json current_context();

// One line of JSON, without its newline. Text that is not UTF-8 is written with replacement
// characters.
std::string record_line(const Record& record);
// `where` ("records.jsonl:3") begins every error.
Result<Record> parse_record(const std::string& line, const std::string& where);

// Checks the record, then appends it as one line, in one write, and syncs. A last line that a crash
// had cut short is removed first. One process at a time.
Status append_record(const std::string& path, const Record& record);

// All records of a file, each checked. A last line cut short by a crash is left out and said so in
// `warnings`; anything else that is wrong is an error that names file and line.
Result<std::vector<Record>> read_records(const std::string& path,
                                         std::vector<std::string>* warnings = nullptr);

// Context, kind and fields as the schema demands. Fields beyond the schema's are allowed.
Status check_record(const Record& record);

}  // namespace pare

#endif  // PARE_RECORDS_RECORD_H_
