#include "tests/report/fixture.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/stats.h"

namespace pare::report_fixture {
namespace {

constexpr int64_t kImages = 1000;

// A 2 × 2 RGB image: red, green, blue, white (written with Python's zlib by hand).
constexpr const char* kPng =
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEk"
    "lEQVR42mP4z8DAAMIM/4EAAB/uBfvxq7p3AAAAAElFTkSuQmCC";

const Variant kVariants[] = {
    {"fp32", 0, 4350, 93'961'512},
    {"float16", 1, 4200, 47'001'000},
    {"bf16", 3, 2900, 46'998'000},
    {"int8", 5, 1180, 19'700'000},
    {"prune:0.5", 4, 4360, 52'000'000},
    {"prune:0.8", 21, 4300, 22'100'000},
    {"prune:0.9", 430, 4290, 12'300'000},
    {"prune:0.5+int8", 9, 1175, 13'900'000},
    {"prune:0.9+int8", 436, 1190, 3'400'000},
};

Json context() {
  return {{"processor", "Made-up CPU <b>9000</b>"},
          {"instruction_sets", "avx2 avx512"},
          {"system", "Linux"},
          {"cores", 2},
          {"version", "0.1.0"},
          {"commit", "0123456789ab"},
          {"date", "2026-01-02T03:04:05Z"}};
}

template <class Fields>
void put(std::vector<Record>& records, const Fields& fields) {
  auto record = to_record(fields, context());
  if (!record.ok()) {
    std::fprintf(stderr, "fixture: %s\n", record.status().message().c_str());
    std::abort();
  }
  records.push_back(*record);
}

void put_accuracy(std::vector<Record>& records, const PredictionsRecord& p) {
  AccuracyRecord a;
  a.id = p.id;
  a.engine = p.engine;
  a.precision = p.precision;
  a.data = p.data;
  a.data_hash = p.data_hash;
  a.images = static_cast<int64_t>(p.labels.size());
  int64_t right = 0;
  for (size_t i = 0; i < p.labels.size(); ++i) right += p.labels[i] == p.predicted[i] ? 1 : 0;
  const Interval interval = wilson_interval(right, a.images);
  a.top1 = 100.0 * static_cast<double>(right) / static_cast<double>(a.images);
  a.top1_low = 100 * interval.low;
  a.top1_high = 100 * interval.high;
  a.top5 = 99.5;
  put(records, a);
}

PredictionsRecord predictions(const ModelIdentity& id, const std::vector<std::string>& classes,
                              int64_t images) {
  PredictionsRecord p;
  p.id = id;
  p.engine = "pare";
  p.precision = "float32";
  p.data = fmt::format("made-up test set, {} images", images);
  p.data_hash = "feed";
  p.classes = classes;
  for (int64_t i = 0; i < images; ++i) {
    p.labels.push_back(i % static_cast<int64_t>(classes.size()));
    p.predicted.push_back(p.labels.back());
  }
  return p;
}

LatencyRecord latency(const ModelIdentity& id, const std::string& engine, int64_t batch,
                      double us) {
  LatencyRecord l;
  l.id = id;
  l.engine = engine;
  l.precision = id.variant.find("int8") == std::string::npos ? "float32" : "int8";
  l.batch = batch;
  l.threads = 2;
  l.runs = 100;
  l.latency_us_p50 = us;
  l.latency_us_p90 = us * 1.1;
  l.latency_us_p99 = us * 1.4;
  l.images_per_s = 1e6 * static_cast<double>(batch) / us;
  l.peak_bytes = 95'000'000;
  l.images = 256;
  l.data = "made-up test set";
  return l;
}

void put_variant(std::vector<Record>& records, const ModelIdentity& id, const Variant& v,
                 double scale) {
  PredictionsRecord p = predictions(id, hostile_classes(), kImages);
  const auto classes = static_cast<int64_t>(p.classes.size());
  // The baseline's mistakes, then this variant's own, spread over images by a fixed stride.
  const auto mistakes = static_cast<int64_t>(scale * 80) + v.mistakes;
  for (int64_t m = 0; m < mistakes; ++m) {
    const auto at = static_cast<size_t>((m * 37 + 11) % kImages);
    p.predicted[at] = (p.labels[at] + 1 + m % 3) % classes;
  }
  put_accuracy(records, p);
  put(records, p);
  for (const auto& [batch, factor] : {std::pair<int64_t, double>{1, 1.0}, {64, 16.0}}) {
    put(records, latency(id, "pare", batch, v.latency_us * factor / scale));
    if (v.name == "fp32" || v.name == "int8") {
      put(records, latency(id, "onnxruntime", batch, v.latency_us * factor / scale * 1.2));
    }
  }
  SizeRecord size{.id = id, .format = "pare", .file_bytes = v.file_bytes, .parameters = 23'490'378};
  put(records, size);
  size.format = "onnx";
  size.file_bytes = v.name.find("int8") != std::string::npos ? 23'600'000 : 93'961'512;
  put(records, size);
}

void put_run(std::vector<Record>& records, const std::string& net, double start) {
  for (int64_t epoch = 1; epoch <= 8; ++epoch) {
    const auto e = static_cast<double>(epoch);
    put(records,
        EpochRecord{.run = net + " run",
                    .net = net,
                    .data = "5,000 built-in training images of CIFAR-10 (not the full 50,000)",
                    .recipe = net,
                    .epoch = epoch,
                    .epochs = 8,
                    .train_loss = 2.3 * std::exp(-0.15 * e),
                    .learning_rate = 0.05 * (1 - e / 8),
                    .validation_loss = 2.0,
                    .validation_top1 = start + 3.5 * e,
                    .validation_top5 = 90.0,
                    .images = 5000,
                    .seconds = 9.5});
  }
}

}  // namespace

std::vector<std::string> hostile_classes() {
  return {"airplane",
          "</script><script>document.documentElement.dataset.broken='1'</script>",
          "\"><img src=x onerror=\"document.documentElement.dataset.broken='2'\">",
          "cat & <b>dog</b>",
          "<!--",
          "a very long class name that has no end in sight, such as ImageNet's synsets have",
          "bad \xff\xc0 bytes",
          "horse",
          "ship",
          "truck"};
}

namespace {

// A convolution of integers, a pooling and a dense layer left in floats, timed on two threads.
void put_layers(std::vector<Record>& records, const ModelIdentity& id) {
  LayerRecord conv{.id = id,
                   .name = "conv1",
                   .operation = "conv 11x11 + relu",
                   .kernel = "conv_u8s8_6x16_avx512_vnni",
                   .reason = "fastest; amx: the processor has none",
                   .macs = 11'243'520,
                   .weight_bytes = 23'232,
                   .weight_density = 0.97,
                   .latency_us = 120.0,
                   .sensitivity = 0.04};
  conv.batch = 1;
  conv.threads = 2;
  conv.arithmetic = "int8";
  conv.work_macs = 11'243'520;
  conv.moved_bytes = 126'000;
  conv.limit_us = 60.0;
  conv.bound = "compute";
  conv.predicted_gain = 2.0;
  conv.measured_gain = 1.75;
  put(records, conv);
  LayerRecord pool = conv;
  pool.name = "pool1";
  pool.operation = "MaxPool";
  pool.macs = 0;
  pool.weight_bytes = 0;
  pool.weight_density.reset();
  pool.latency_us = 10.0;
  pool.arithmetic.clear();
  pool.work_macs = 0;
  pool.limit_us = 1.0;
  pool.bound = "memory";
  pool.measured_gain = 1.01;
  pool.gain_reason = "as many bytes & operations as <before>";
  put(records, pool);
  LayerRecord dense = conv;
  dense.name = "fc6";
  dense.operation = "Gemm 1024 -> 4096";
  dense.arithmetic = "float32";
  dense.kernel = "gemm_f32_sparse_avx2";
  dense.work_macs = 4'194'304;
  dense.moved_bytes = 16'800'000;
  dense.latency_us = 900.0;
  dense.limit_us = 450.0;
  dense.bound = "memory";
  put(records, dense);
}

}  // namespace

std::vector<Record> whole_study() {
  std::vector<Record> records;
  for (const auto& [net, scale] :
       {std::pair<std::string, double>{"alexnet", 1.0}, {"vit-seed", 2.0}}) {
    for (const Variant& v : kVariants) {
      put_variant(records,
                  {.model = net + " " + v.name,
                   .model_hash = "",
                   .net = net,
                   .variant = v.name,
                   .trained_on = "CIFAR-10's 50,000 training images"},
                  v, scale);
    }
    const ModelIdentity short_run{
        .model = net + " fp32",
        .model_hash = "",
        .net = net,
        .variant = "fp32",
        .trained_on = "5,000 built-in training images of CIFAR-10 (not the full 50,000)"};
    put_variant(records, short_run, {"fp32", 430, 4350, 93'961'512}, scale);
    put_run(records, net, 10 * scale);
    put_layers(records, {.model = net + " int8",
                         .model_hash = "",
                         .net = net,
                         .variant = "int8",
                         .trained_on = "CIFAR-10's 50,000 training images"});
  }
  put(records, CeilingsRecord{.threads = 2,
                              .read_bytes = {32'768, 16'777'216, 134'217'728},
                              .read_gb_s = {400, 80, 20},
                              .float32_gmac_s = 110,
                              .int8_gmac_s = 220,
                              .sparse_rows_float32_gmac_s = 30.0,
                              .barrier_us = 0.4,
                              .step_us = 0.2,
                              .seconds = 0.3});
  for (int64_t i = 0; i < 40; ++i) {
    put(records,
        ImageRecord{
            .data_hash = "feed", .index = (i * 37 + 11 + 37 * 80) % kImages, .png_base64 = kPng});
  }
  put(records, StepRecord{.study = "default",
                          .step = "alexnet int8: accuracy",
                          .status = "ran",
                          .cause = "no result yet",
                          .seconds = 4.2});
  put(records, StepRecord{.study = "default",
                          .step = "train alexnet",
                          .status = "left out",
                          .cause = "built without training",
                          .seconds = 0});
  return records;
}

std::vector<Record> small_study() {
  std::vector<Record> records;
  ModelIdentity id{
      .model = "net fp32", .model_hash = "", .net = "net", .variant = "fp32", .trained_on = ""};
  PredictionsRecord p = predictions(id, {"yes", "no"}, 20);
  p.predicted[0] = 1;  // label 0
  p.predicted[1] = 0;  // label 1
  put_accuracy(records, p);
  put(records, p);
  put(records, latency(id, "pare", 1, 1000));
  put(records,
      SizeRecord{.id = id, .format = "onnx", .file_bytes = 4'000'000, .parameters = 1'000'000});
  id.model = "net int8";
  id.variant = "int8";
  p.id = id;
  p.predicted[0] = 0;  // put right
  p.predicted[2] = 1;  // label 0, spoilt
  p.predicted[4] = 1;  // label 0, spoilt
  put_accuracy(records, p);
  put(records, p);
  put(records, latency(id, "pare", 1, 250));
  put(records,
      SizeRecord{.id = id, .format = "pare", .file_bytes = 800'000, .parameters = 1'000'000});
  return records;
}

}  // namespace pare::report_fixture
