// What a measured model is: how its file is known in the records, and what it computes in.
#ifndef PARE_MEASURE_SUBJECT_H_
#define PARE_MEASURE_SUBJECT_H_

#include <string>

#include "pare/status.h"

#include "graph/graph.h"
#include "records/schema.h"

namespace pare {

// The type most of the model's weights are stored in: "float32", "float16", "bfloat16", "int8",
// "int4". Of float32 ones, `session_precision` (SessionOptions::precision) says what they become.
std::string precision_of(const Graph& graph, const std::string& session_precision = "float32");

// The file as a record names it: its path as `model`, its hash, and what it was trained on if the
// file says so. The rest stays empty.
Result<ModelIdentity> identify_model(const std::string& path, const Graph& graph);

}  // namespace pare

#endif  // PARE_MEASURE_SUBJECT_H_
