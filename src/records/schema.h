// The kinds of records, one struct each. A struct lists its fields once, in for_each_field;
// writing, reading and checking all follow that list, so they cannot disagree.
//
// A required field's default is a value that does not pass the check (empty, -1, NaN): a writer who
// forgets one is told which. Optional fields are left out of the file when empty. Shares are in
// percent, times in the unit their name ends in. docs/file-formats.md says what each field means.
#ifndef PARE_RECORDS_SCHEMA_H_
#define PARE_RECORDS_SCHEMA_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "pare/status.h"

#include "records/record.h"

namespace pare {

inline constexpr double kUnset = std::numeric_limits<double>::quiet_NaN();

// Which model a figure belongs to. Records of one model from different rooms and engines are joined
// by (net, variant) where both are given, else by model.
struct ModelIdentity {
  std::string model;       // as shown: "alexnet int8", "mine.onnx"
  std::string model_hash;  // optional: XXH3 of the file
  std::string net;         // optional: "alexnet"
  std::string variant;     // optional: "fp32", "int8", "prune:0.9+int8"
  // Optional: what its weights were trained on, shown wherever a figure of the model is; never left
  // out for the 5,000 built-in images.
  std::string trained_on;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    v.required("model", s.model);
    v.optional("model_hash", s.model_hash);
    v.optional("net", s.net);
    v.optional("variant", s.variant);
    v.optional("trained_on", s.trained_on);
  }
};

struct AccuracyRecord {
  static constexpr const char* kKind = "accuracy";
  ModelIdentity id;
  std::string engine;     // "pare", "onnxruntime", "openvino", "pytorch"
  std::string precision;  // what the engine computed in: "float32", "bfloat16", "int8"
  std::string data;       // Dataset::description()
  std::string data_hash;  // optional
  int64_t images = -1;
  double top1 = kUnset;  // percent, with its 95 % Wilson interval
  double top1_low = kUnset;
  double top1_high = kUnset;
  double top5 = kUnset;
  std::optional<double> top5_low;
  std::optional<double> top5_high;
  std::string against;  // optional: the model that flips and mcnemar_p compare with
  std::optional<double> flips;
  std::optional<double> mcnemar_p;
  std::vector<std::string> classes;   // optional
  std::vector<int64_t> class_images;  // optional; one a class
  std::vector<int64_t> class_correct;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    ModelIdentity::for_each_field(s.id, v);
    v.required("engine", s.engine);
    v.required("precision", s.precision);
    v.required("data", s.data);
    v.optional("data_hash", s.data_hash);
    v.required("images", s.images);
    v.percent("top1", s.top1);
    v.percent("top1_low", s.top1_low);
    v.percent("top1_high", s.top1_high);
    v.percent("top5", s.top5);
    v.percent("top5_low", s.top5_low);
    v.percent("top5_high", s.top5_high);
    v.optional("against", s.against);
    v.percent("flips", s.flips);
    v.optional("mcnemar_p", s.mcnemar_p);
    v.optional("classes", s.classes);
    v.optional("class_images", s.class_images);
    v.optional("class_correct", s.class_correct);
  }
  Status check() const;
};

// What a model answered for every image of a set, in the set's order.
struct PredictionsRecord {
  static constexpr const char* kKind = "predictions";
  ModelIdentity id;
  std::string engine;
  std::string precision;
  std::string data;
  std::string data_hash;
  std::vector<std::string> classes;
  std::vector<int64_t> labels;
  std::vector<int64_t> predicted;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    ModelIdentity::for_each_field(s.id, v);
    v.required("engine", s.engine);
    v.required("precision", s.precision);
    v.required("data", s.data);
    v.required("data_hash", s.data_hash);
    v.required("classes", s.classes);
    v.required("labels", s.labels);
    v.required("predicted", s.predicted);
  }
  Status check() const;
};

struct LatencyRecord {
  static constexpr const char* kKind = "latency";
  ModelIdentity id;
  std::string engine;
  std::string engine_version;  // optional: "1.32.0"
  std::string precision;
  std::string cpu_level;  // optional: highest instruction set allowed
  std::string device;     // optional: "cuda"; the processor without it
  std::string device_name;
  int64_t batch = -1;
  int64_t threads = -1;
  int64_t runs = -1;               // timed runs
  double latency_us_p50 = kUnset;  // of one batch
  double latency_us_p90 = kUnset;
  double latency_us_p99 = kUnset;
  double images_per_s = kUnset;
  int64_t peak_bytes = -1;  // memory: arena, packed weights, scratch (peers: what they report)
  std::optional<int64_t> weights_bytes;
  std::optional<int64_t> arena_bytes;
  std::optional<int64_t> scratch_bytes;
  // Of a device of its own: the same batches by its own clock, without the copies from and to the
  // processor's memory; clocks under load; energy by the device's own meter.
  std::optional<double> device_us_p50;
  std::optional<double> device_us_p90;
  std::optional<int64_t> clock_mhz;
  std::optional<int64_t> memory_clock_mhz;
  std::optional<double> millijoules_per_image;
  int64_t images = -1;  // different images in rotation
  std::string data;
  std::vector<double> samples_us;  // optional: every timed run

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    ModelIdentity::for_each_field(s.id, v);
    v.required("engine", s.engine);
    v.optional("engine_version", s.engine_version);
    v.required("precision", s.precision);
    v.optional("cpu_level", s.cpu_level);
    v.optional("device", s.device);
    v.optional("device_name", s.device_name);
    v.required("batch", s.batch);
    v.required("threads", s.threads);
    v.required("runs", s.runs);
    v.required("latency_us_p50", s.latency_us_p50);
    v.required("latency_us_p90", s.latency_us_p90);
    v.required("latency_us_p99", s.latency_us_p99);
    v.required("images_per_s", s.images_per_s);
    v.required("peak_bytes", s.peak_bytes);
    v.optional("weights_bytes", s.weights_bytes);
    v.optional("arena_bytes", s.arena_bytes);
    v.optional("scratch_bytes", s.scratch_bytes);
    v.optional("device_us_p50", s.device_us_p50);
    v.optional("device_us_p90", s.device_us_p90);
    v.optional("clock_mhz", s.clock_mhz);
    v.optional("memory_clock_mhz", s.memory_clock_mhz);
    v.optional("millijoules_per_image", s.millijoules_per_image);
    v.required("images", s.images);
    v.required("data", s.data);
    v.optional("samples_us", s.samples_us);
  }
  Status check() const;
};

struct SizeRecord {
  static constexpr const char* kKind = "size";
  ModelIdentity id;
  std::string format;  // "pare" or "onnx"
  int64_t file_bytes = -1;
  int64_t parameters = -1;
  std::optional<int64_t> nonzero_parameters;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    ModelIdentity::for_each_field(s.id, v);
    v.required("format", s.format);
    v.required("file_bytes", s.file_bytes);
    v.required("parameters", s.parameters);
    v.optional("nonzero_parameters", s.nonzero_parameters);
  }
  Status check() const;
};

// One epoch of one training run.
struct EpochRecord {
  static constexpr const char* kKind = "epoch";
  std::string run;     // unique to the run: its name or folder
  std::string net;     // "alexnet"
  std::string data;    // the training set's description
  std::string recipe;  // optional: the recipe's name
  int64_t epoch = -1;  // from 1
  int64_t epochs = -1;
  double train_loss = kUnset;
  double learning_rate = kUnset;
  std::optional<double> validation_loss;
  std::optional<double> validation_top1;  // percent
  std::optional<double> validation_top5;
  int64_t images = -1;  // training images seen in the epoch
  double seconds = kUnset;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    v.required("run", s.run);
    v.required("net", s.net);
    v.required("data", s.data);
    v.optional("recipe", s.recipe);
    v.required("epoch", s.epoch);
    v.required("epochs", s.epochs);
    v.required("train_loss", s.train_loss);
    v.required("learning_rate", s.learning_rate);
    v.optional("validation_loss", s.validation_loss);
    v.percent("validation_top1", s.validation_top1);
    v.percent("validation_top5", s.validation_top5);
    v.required("images", s.images);
    v.required("seconds", s.seconds);
  }
  Status check() const;
};

// One layer of one model: how it is run, what it holds, what touching it costs.
struct LayerRecord {
  static constexpr const char* kKind = "layer";
  ModelIdentity id;
  std::string name;
  std::string operation;        // "conv 5x5 + relu"
  std::string kernel;           // optional
  std::string reason;           // optional: why that kernel
  std::optional<int64_t> macs;  // for one image
  std::optional<int64_t> weight_bytes;
  std::optional<double> weight_density;  // share of weights that are not zero, 0 … 1
  std::optional<double> latency_us;      // of a batch
  // How the time stands to what the machine allows (measure/roofline.h), where it was measured.
  std::optional<int64_t> batch;
  std::optional<int64_t> threads;
  std::string arithmetic;             // optional: what it multiplies in: "float32", "int8"
  std::optional<double> work_macs;    // of a batch, without those that the kernel leaves out
  std::optional<double> moved_bytes;  // of a batch: weights and activations
  std::optional<double> limit_us;     // what the ceilings allow
  std::string bound;                  // optional: "memory", "compute" or "overhead"
  // Beside the model it was made from: times as fast, by the limits and by the clock, and, where
  // that is nothing, why.
  std::optional<double> predicted_gain;
  std::optional<double> measured_gain;
  std::string gain_reason;
  // Optional: top-1 percentage points lost when this layer alone is treated as the variant says.
  std::optional<double> sensitivity;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    ModelIdentity::for_each_field(s.id, v);
    v.required("name", s.name);
    v.required("operation", s.operation);
    v.optional("kernel", s.kernel);
    v.optional("reason", s.reason);
    v.optional("macs", s.macs);
    v.optional("weight_bytes", s.weight_bytes);
    v.optional("weight_density", s.weight_density);
    v.optional("latency_us", s.latency_us);
    v.optional("batch", s.batch);
    v.optional("threads", s.threads);
    v.optional("arithmetic", s.arithmetic);
    v.optional("work_macs", s.work_macs);
    v.optional("moved_bytes", s.moved_bytes);
    v.optional("limit_us", s.limit_us);
    v.optional("bound", s.bound);
    v.optional("predicted_gain", s.predicted_gain);
    v.optional("measured_gain", s.measured_gain);
    v.optional("gain_reason", s.gain_reason);
    v.optional("sensitivity", s.sensitivity);
  }
  Status check() const;
};

// What the machine itself can do on a number of threads (measure/ceilings.h).
struct CeilingsRecord {
  static constexpr const char* kKind = "ceilings";
  int64_t threads = -1;
  std::string cpu_level;  // optional: highest instruction set allowed
  // Reading at `read_gb_s` where the threads together go through `read_bytes` again and again.
  std::vector<int64_t> read_bytes;  // ascending
  std::vector<double> read_gb_s;
  // Multiply-adds, 10^9 a second; of bfloat16 only where there are instructions for it.
  double float32_gmac_s = kUnset;
  std::optional<double> bfloat16_gmac_s;
  double int8_gmac_s = kUnset;
  // The same of weights that are picked out singly among zeros, by the kernels for pruned weights:
  // for one row of the source, and for many. Only where there are such kernels.
  std::optional<double> sparse_row_float32_gmac_s;
  std::optional<double> sparse_rows_float32_gmac_s;
  std::optional<double> sparse_row_int8_gmac_s;
  std::optional<double> sparse_rows_int8_gmac_s;
  double barrier_us = kUnset;  // from a job's start to its end, nothing done
  double step_us = kUnset;     // a step of a plan that computes four numbers
  double seconds = kUnset;     // that measuring took

  // Of "float32", "bfloat16" (float32's where it has no instructions of its own) or "int8".
  double gmac_s(const std::string& arithmetic) const;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    v.required("threads", s.threads);
    v.optional("cpu_level", s.cpu_level);
    v.required("read_bytes", s.read_bytes);
    v.required("read_gb_s", s.read_gb_s);
    v.required("float32_gmac_s", s.float32_gmac_s);
    v.optional("bfloat16_gmac_s", s.bfloat16_gmac_s);
    v.required("int8_gmac_s", s.int8_gmac_s);
    v.optional("sparse_row_float32_gmac_s", s.sparse_row_float32_gmac_s);
    v.optional("sparse_rows_float32_gmac_s", s.sparse_rows_float32_gmac_s);
    v.optional("sparse_row_int8_gmac_s", s.sparse_row_int8_gmac_s);
    v.optional("sparse_rows_int8_gmac_s", s.sparse_rows_int8_gmac_s);
    v.required("barrier_us", s.barrier_us);
    v.required("step_us", s.step_us);
    v.required("seconds", s.seconds);
  }
  Status check() const;
};

// One step of a study: whether it ran and why.
struct StepRecord {
  static constexpr const char* kKind = "step";
  std::string study;
  std::string step;    // "alexnet int8: accuracy"
  std::string status;  // "ran", "cached", "left out", "failed"
  std::string cause;   // "no result yet", "the model changed", "built without training", the error
  double seconds = kUnset;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    v.required("study", s.study);
    v.required("step", s.step);
    v.required("status", s.status);
    v.required("cause", s.cause);
    v.required("seconds", s.seconds);
  }
  Status check() const;
};

// One image of a set, so that the report can show it.
struct ImageRecord {
  static constexpr const char* kKind = "image";
  std::string data_hash;
  int64_t index = -1;
  std::string png_base64;

  template <class Self, class Visitor>
  static void for_each_field(Self& s, Visitor& v) {
    v.required("data_hash", s.data_hash);
    v.required("index", s.index);
    v.required("png_base64", s.png_base64);
  }
  Status check() const;
};

// All kinds, in the order of the documentation.
const std::vector<std::string>& record_kinds();
// The names of a kind's fields; empty for an unknown kind.
std::vector<std::string> field_names(const std::string& kind);

// A struct as a record; fails naming the kind and the field that was not set or is out of range.
template <class Fields>
Result<Record> to_record(const Fields& fields, const Json& context);
// A record as its struct; fails when the kind is another, or a field is missing or wrong.
template <class Fields>
Result<Fields> from_record(const Record& record);

// to_record, then append_record.
template <class Fields>
Status append(const std::string& path, const Fields& fields, const Json& context) {
  PARE_ASSIGN_OR_RETURN(const Record record, to_record(fields, context));
  return append_record(path, record);
}

}  // namespace pare

#endif  // PARE_RECORDS_SCHEMA_H_
