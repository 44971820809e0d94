// What pare explain prints: tables for people, an object for programs.
#ifndef PARE_CLI_EXPLAIN_TABLES_H_
#define PARE_CLI_EXPLAIN_TABLES_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "pare/session.h"

#include "measure/gain.h"
#include "measure/roofline.h"
#include "records/schema.h"

namespace pare {

struct Explanation {
  std::vector<LayerPlan> layers;
  MemoryUse memory;
  std::optional<TimedPlan> timed;          // without limits where there are no ceilings
  std::optional<CeilingsRecord> ceilings;  // of the processor
  std::optional<PlanGain> gain;            // against another model
};

struct ExplainedModel {
  std::string name;
  std::string precision;
  int64_t batch = 1;
  int threads = 1;
  std::string against;
};

nlohmann::ordered_json explanation_json(const ExplainedModel& model, const Explanation& e);
void print_explanation(const ExplainedModel& model, const Explanation& e);

// "needs avx512: a, b; weights are not int8: c; first that fits": LayerPlan::reason with every
// reason once.
std::string grouped_reasons(const std::string& reason);

// Puts a layer's gain into its record.
void add_gain(const LayerGain& gain, LayerRecord& record);

}  // namespace pare

#endif  // PARE_CLI_EXPLAIN_TABLES_H_
