// Facts: the records of a study, joined by model, with every comparison the report states.
//
// Models are grouped by network and by what it was trained on, so that figures of nets trained on
// different data never stand in one chart. In each group the variant "fp32" (else the first) is the
// baseline. Where several records say the same thing, the last one counts.
#ifndef PARE_REPORT_FACTS_H_
#define PARE_REPORT_FACTS_H_

#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "base/stats.h"
#include "records/record.h"
#include "records/schema.h"

namespace pare {

// One model against its group's baseline, on the same images.
struct Comparison {
  std::optional<double> top1_change;  // percentage points
  // The rest needs the predictions of both.
  std::optional<Interval> top1_change_interval;  // 95 %, percentage points (Newcombe, paired)
  std::optional<double> mcnemar_p;
  std::optional<double> flips;        // percent of images whose answer differs
  std::vector<double> class_changes;  // percentage points, one a class
  std::optional<double> smaller;      // this file against the baseline's .onnx (else same format)
};

struct ModelFacts {
  ModelIdentity id;
  std::vector<AccuracyRecord> accuracies;  // one an engine and precision; Pare's first
  std::optional<PredictionsRecord> predictions;
  std::vector<LatencyRecord> latencies;  // one an engine, precision, batch and thread count
  std::optional<SizeRecord> pare_file;
  std::optional<SizeRecord> onnx_file;
  std::vector<LayerRecord> layers;
  Comparison against_baseline;

  const std::string& name() const { return id.variant.empty() ? id.model : id.variant; }
  const AccuracyRecord* accuracy() const { return accuracies.empty() ? nullptr : &accuracies[0]; }
  // Pare's own time on the processor; nullptr if it was not measured.
  const LatencyRecord* latency(int64_t batch, int64_t threads) const;
  // Pare's own times on other devices, one a device and precision.
  std::vector<const LatencyRecord*> device_latencies(int64_t batch) const;
  // Of what Pare answers in a precision; the first there is where that was not measured.
  const AccuracyRecord* accuracy_in(const std::string& precision) const;
  // What one would ship: the .pare file, else the .onnx file.
  const SizeRecord* file() const;
};

struct Group {
  std::string net;
  std::string trained_on;
  std::vector<ModelFacts> models;
  size_t baseline = 0;

  // "alexnet, trained on …".
  std::string title() const;
  const ModelFacts& base() const { return models[baseline]; }
  // Batch sizes and thread counts that Pare was timed at, ascending; threads of the processor only.
  std::vector<int64_t> batches() const;
  std::vector<int64_t> threads() const;
  // Pare's time of the baseline over that of `model`, same batch and threads.
  std::optional<double> speedup(const ModelFacts& model, int64_t batch, int64_t threads) const;
};

struct TrainingRun {
  std::string name;
  std::string net;
  std::string data;
  std::string recipe;
  std::vector<EpochRecord> epochs;  // ascending
  // "alexnet, on <data>".
  std::string title() const;
};

struct Facts {
  std::vector<Group> groups;
  std::vector<TrainingRun> runs;
  std::vector<StepRecord> steps;
  std::vector<ImageRecord> images;
  std::vector<CeilingsRecord> ceilings;  // one a number of threads and instruction set
  std::vector<Json> contexts;            // different machines, commits and versions, dates aside
  std::string first_date, last_date;
  std::vector<std::string> data;  // different descriptions of test sets
};

// Of as many threads as `layer` was timed on; nullptr: not among the records.
const CeilingsRecord* ceilings_of(const Facts& facts, const LayerRecord& layer);

// Fails on a record that its schema refuses.
Result<Facts> gather_facts(const std::vector<Record>& records);

// Indices of the points no other point beats: none has both smaller-or-equal x and larger-or-equal
// y, one of them strictly. Ordered by x.
struct TradeoffPoint {
  double x = 0;
  double y = 0;
};
std::vector<size_t> pareto_front(const std::vector<TradeoffPoint>& points);

}  // namespace pare

#endif  // PARE_REPORT_FACTS_H_
