#include "study/work.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "base/cpu_features.h"
#include "base/file.h"
#include "compress/compress.h"
#include "compress/recipe.h"
#include "graph/cost.h"
#include "graph/model_file.h"
#include "graph/onnx.h"
#include "graph/pare_file.h"
#include "measure/accuracy.h"
#include "measure/ceilings.h"
#include "measure/latency.h"
#include "measure/model_images.h"
#include "measure/roofline.h"
#include "measure/subject.h"

namespace pare {
namespace {

// Weights that are zero, whatever type they are stored in.
int64_t zero_weights(const Graph& graph) {
  int64_t zeros = 0;
  for (const std::string& name : weight_initializers(graph)) {
    const Tensor* tensor = graph.find_initializer(name);
    const auto bytes = static_cast<size_t>(dtype_bits(tensor->type()) / 8);
    if (bytes == 0) continue;  // several to a byte: not counted
    const std::byte* at = tensor->data();
    for (int64_t i = 0; i < tensor->size(); ++i, at += bytes) {
      zeros += std::all_of(at, at + bytes, [](std::byte b) { return b == std::byte{0}; }) ? 1 : 0;
    }
  }
  return zeros;
}

struct Sizes {
  int64_t pare_bytes = 0;
  int64_t onnx_bytes = 0;
};

// Of the model as ONNX, with the file beside it that weights beyond 2 GiB lie in; neither is kept.
Result<int64_t> onnx_bytes(const Graph& graph, const std::string& folder) {
  const std::string own = folder + "/size";
  PARE_RETURN_IF_ERROR(make_directories(own));
  PARE_RETURN_IF_ERROR(write_onnx(graph, own + "/model.onnx"));
  int64_t bytes = 0;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(own, ignored)) {
    PARE_ASSIGN_OR_RETURN(const int64_t size, file_size(entry.path().string()));
    bytes += size;
  }
  std::filesystem::remove_all(own, ignored);
  return bytes;
}

Result<Sizes> write_model(const Graph& graph, const std::string& folder, int threads) {
  Sizes sizes;
  const std::string packed = folder + "/" + kModelFile;
  PARE_RETURN_IF_ERROR(write_pare(graph, packed, {.threads = threads}));
  PARE_ASSIGN_OR_RETURN(sizes.pare_bytes, file_size(packed));
  PARE_ASSIGN_OR_RETURN(sizes.onnx_bytes, onnx_bytes(graph, folder));
  return sizes;
}

template <class Fields>
Status add(const Fields& fields, const Json& context, StudyStepOutput& output) {
  PARE_ASSIGN_OR_RETURN(Record record, to_record(fields, context));
  output.records.push_back(std::move(record));
  return ok_status();
}

}  // namespace

std::string session_precision_of(const std::string& variant) {
  const auto recipe = load_recipe(variant);
  if (!recipe.ok()) return "float32";  // the unchanged net
  for (const RecipeStep& step : recipe->steps) {
    if (step.method == "fp16") return "float16";
    if (step.method == "bf16") return "bfloat16";
  }
  return "float32";
}

int StudyWork::threads() const {
  return options_.threads > 0 ? options_.threads : detect_cpu().cores;
}

Result<DatasetPair> StudyWork::open(DatasetOptions options) {
  options.path = config_.data;
  options.threads = options_.threads;
  const DataKey key{options.image_size, options.resize, options.stretch};
  if (const auto found = data_.find(key); found != data_.end()) return found->second;
  PARE_ASSIGN_OR_RETURN(DatasetPair pair, open_dataset(options));
  if (pair.test == nullptr || pair.test->size() == 0) {
    return not_found(config_.data + ": no test images");
  }
  if (options_.events.note) {
    for (const std::string& warning : pair.warnings) options_.events.note(warning);
  }
  return data_[key] = std::move(pair);
}

Result<DatasetPair> StudyWork::images_for(const Graph& graph) {
  PARE_ASSIGN_OR_RETURN(const DatasetOptions options, dataset_options_for(graph));
  return open(options);
}

Result<std::string> StudyWork::test_hash() {
  PARE_ASSIGN_OR_RETURN(const DatasetPair pair, open({}));
  return pair.test->hash();
}

Result<std::string> StudyWork::train_hash() {
  PARE_ASSIGN_OR_RETURN(const DatasetPair pair, open({}));
  return pair.train == nullptr ? "none" : pair.train->hash();
}

Result<StudyStepOutput> StudyWork::train_net(const StudyNet& net, const StudyStepContext& context) {
  const int at_once = options_.training_threads;
  const TrainingRequest request{net.train, net.settings, config_.data,
                                at_once > 0 ? at_once : options_.threads};
  const std::string run = context.folder + "/run";
  PARE_RETURN_IF_ERROR(options_.trainer->train(
      request, run, [&context](const std::string& line) { context.say(line); }));
  StudyStepOutput output;
  PARE_ASSIGN_OR_RETURN(const std::vector<Record> records, read_records(run + "/records.jsonl"));
  for (const Record& record : records) {
    if (record.kind != EpochRecord::kKind) continue;
    PARE_ASSIGN_OR_RETURN(EpochRecord epoch, from_record<EpochRecord>(record));
    epoch.run = net.name;  // not the folder, which is about to go
    PARE_RETURN_IF_ERROR(add(epoch, record.context, output));
  }
  std::error_code error;
  std::filesystem::copy_file(run + "/model.onnx", context.folder + "/" + kTrainedFile,
                             std::filesystem::copy_options::overwrite_existing, error);
  if (error) return io_error(fmt::format("{}/model.onnx: {}", run, error.message()));
  std::filesystem::remove_all(run, error);  // the checkpoint is three times the net
  output.files = {kTrainedFile};
  return output;
}

Result<Graph> StudyWork::compressed(const Graph& graph, const std::string& recipe_text,
                                    const StudyStepContext& context) {
  PARE_ASSIGN_OR_RETURN(const Recipe recipe, load_recipe(recipe_text));
  CompressContext work;
  if (needs_images(recipe)) {
    PARE_ASSIGN_OR_RETURN(const DatasetPair data, images_for(graph));
    work.train = data.train;
  }
  work.calibration_images = config_.calibration_images;
  work.sensitivity_images = config_.sensitivity_images;
  work.trainer = options_.trainer == nullptr ? nullptr : options_.trainer->finetuner();
  work.threads = options_.threads;
  work.seed = config_.seed;
  work.progress = [&context](const std::string& line) { context.say(line); };
  work.damage_cache = damage_;
  PARE_ASSIGN_OR_RETURN(Compressed result, compress(graph, recipe, work));
  for (const RecipeStepReport& step : result.steps) {
    if (!options_.events.note) break;
    for (const std::string& warning : step.warnings) {
      options_.events.note(fmt::format("{}: {}", step.step, warning));
    }
  }
  return std::move(result.graph);
}

Result<StudyStepOutput> StudyWork::make_variant(const StudyVariant& variant,
                                                const std::string& source,
                                                const StudyStepContext& context) {
  PARE_ASSIGN_OR_RETURN(Graph graph, load_model(source));
  if (!variant.trained_on.empty()) graph.metadata["trained_on"] = variant.trained_on;
  if (variant.variant != kUnchangedVariant) {
    PARE_ASSIGN_OR_RETURN(graph, compressed(graph, variant.variant, context));
  }
  PARE_ASSIGN_OR_RETURN(const Sizes sizes, write_model(graph, context.folder, options_.threads));
  StudyStepOutput output;
  output.files = {kModelFile};
  SizeRecord size;
  PARE_ASSIGN_OR_RETURN(size.id, identify_model(context.folder + "/" + kModelFile, graph));
  size.id.model = variant.model();
  size.id.net = variant.net;
  size.id.variant = variant.variant;
  size.parameters = graph.parameter_count();
  size.nonzero_parameters = size.parameters - zero_weights(graph);
  size.format = "pare";
  size.file_bytes = sizes.pare_bytes;
  const Json now = current_context();
  PARE_RETURN_IF_ERROR(add(size, now, output));
  size.format = "onnx";
  size.file_bytes = sizes.onnx_bytes;
  size.id.model_hash.clear();  // the .pare file's
  PARE_RETURN_IF_ERROR(add(size, now, output));
  return output;
}

Result<StudyWork::Loaded> StudyWork::load(const StudyVariant& variant,
                                          const StudyStepContext& context) {
  const std::string path = context.results.path(variant.model_step(), kModelFile);
  Loaded model;
  PARE_ASSIGN_OR_RETURN(model.graph, load_model(path));
  PARE_ASSIGN_OR_RETURN(model.id, identify_model(path, model.graph));
  model.id.model = variant.model();
  model.id.net = variant.net;
  model.id.variant = variant.variant;
  PARE_ASSIGN_OR_RETURN(model.data, images_for(model.graph));
  model.session_precision = session_precision_of(variant.variant);
  model.precision = precision_of(model.graph, model.session_precision);
  return model;
}

Result<Session> StudyWork::session(const Loaded& model) const {
  return Session::from_graph(model.graph, session_options(model));
}

SessionOptions StudyWork::session_options(const Loaded& model) const {
  return {.threads = threads(), .precision = model.session_precision};
}

Result<StudyStepOutput> StudyWork::measure_accuracy(const StudyVariant& variant,
                                                    const StudyStepContext& context) {
  PARE_ASSIGN_OR_RETURN(const Loaded model, load(variant, context));
  PARE_ASSIGN_OR_RETURN(Session runner, session(model));
  EvaluationOptions options;
  options.images = std::min(config_.test_images, model.data.test->size());
  options.progress = [&context](int64_t done, int64_t total) {
    context.say(fmt::format("{} of {} images", done, total));
  };
  PARE_ASSIGN_OR_RETURN(const Evaluation evaluation, evaluate(runner, *model.data.test, options));
  EvaluationSubject subject;
  subject.id = model.id;
  subject.precision = model.precision;
  StudyStepOutput output;
  const Json now = current_context();
  PARE_RETURN_IF_ERROR(add(accuracy_record(evaluation, *model.data.test, subject), now, output));
  PARE_RETURN_IF_ERROR(add(predictions_record(evaluation, *model.data.test, subject), now, output));
  return output;
}

Result<StudyStepOutput> StudyWork::measure_layers(const StudyVariant& variant,
                                                  const StudyStepContext& context) {
  PARE_ASSIGN_OR_RETURN(const Loaded model, load(variant, context));
  PARE_ASSIGN_OR_RETURN(Session runner, session(model));
  PARE_ASSIGN_OR_RETURN(std::vector<double> times_us,
                        measure_steps(runner, *model.data.test, 1, config_.seconds));
  PARE_ASSIGN_OR_RETURN(const CeilingsRecord ceilings, load_ceilings({.threads = threads()}));
  PARE_ASSIGN_OR_RETURN(const TimedPlan timed,
                        timed_plan(runner, model.graph, session_options(model), *model.data.test, 1,
                                   std::move(times_us), &ceilings));
  StudyStepOutput output;
  const Json now = current_context();
  PARE_RETURN_IF_ERROR(add(ceilings, now, output));
  for (const LayerRecord& layer : layer_records(timed, model.id)) {
    PARE_RETURN_IF_ERROR(add(layer, now, output));
  }
  return output;
}

Result<StudyStepOutput> StudyWork::measure_net_latency(const std::vector<StudyVariant>& variants,
                                                       const StudyStepContext& context) {
  std::vector<Loaded> models;
  std::vector<Session> sessions;
  for (const StudyVariant& variant : variants) {
    if (!context.results.has(variant.accuracy_step())) continue;
    PARE_ASSIGN_OR_RETURN(Loaded model, load(variant, context));
    PARE_ASSIGN_OR_RETURN(Session runner, session(model));
    model.graph.initializers.clear();  // the session has packed them
    models.push_back(std::move(model));
    sessions.push_back(std::move(runner));
  }
  std::vector<LatencySubject> subjects;
  for (size_t i = 0; i < models.size(); ++i) {
    LatencySubject subject;
    subject.id = models[i].id;
    subject.precision = models[i].precision;
    subject.session = &sessions[i];
    subject.threads = threads();
    subjects.push_back(std::move(subject));
  }
  StudyStepOutput output;
  for (const int64_t batch : config_.batches) {
    LatencyOptions options;
    options.batch = batch;
    options.seconds = config_.seconds;
    options.images = config_.latency_images;
    options.progress = [&context, batch](int64_t done, int64_t total) {
      context.say(fmt::format("batch {}: round {} of {}", batch, done, total));
    };
    PARE_ASSIGN_OR_RETURN(const std::vector<LatencyRecord> records,
                          measure_latency(subjects, *models[0].data.test, options));
    for (const LatencyRecord& record : records) {
      PARE_RETURN_IF_ERROR(add(record, current_context(), output));
    }
  }
  return output;
}

}  // namespace pare
