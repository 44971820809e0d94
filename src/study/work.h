// What the steps of a study do. study.cc says in which order and what each depends on.
#ifndef PARE_STUDY_WORK_H_
#define PARE_STUDY_WORK_H_

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "pare/session.h"
#include "pare/status.h"

#include "compress/prune.h"
#include "data/dataset.h"
#include "graph/graph.h"
#include "records/schema.h"
#include "study/steps.h"
#include "study/study.h"

namespace pare {

inline constexpr const char* kModelFile = "model.pare";    // of a variant's step
inline constexpr const char* kTrainedFile = "model.onnx";  // of a training's step

// One variant of one net, and the names of its steps.
struct StudyVariant {
  std::string net_name;  // the config's
  std::string net;       // the architecture's, for the records: "alexnet"
  std::string variant;
  std::string trained_on;  // of the config; empty: the model file says it

  std::string model() const { return net_name + " " + variant; }
  std::string model_step() const { return model() + ": model"; }
  std::string accuracy_step() const { return model() + ": accuracy"; }
  std::string layers_step() const { return model() + ": layers"; }
};

// Lives as long as the study runs; opened data and measured sensitivities are shared by its steps.
class StudyWork {
 public:
  StudyWork(const StudyConfig& config, const StudyOptions& options)
      : config_(config), options_(options) {}

  // Identify the images whatever size a model wants them in.
  Result<std::string> test_hash();
  Result<std::string> train_hash();

  Result<StudyStepOutput> train_net(const StudyNet& net, const StudyStepContext& context);
  // `source`: the model file that the variant is made from.
  Result<StudyStepOutput> make_variant(const StudyVariant& variant, const std::string& source,
                                       const StudyStepContext& context);
  Result<StudyStepOutput> measure_accuracy(const StudyVariant& variant,
                                           const StudyStepContext& context);
  Result<StudyStepOutput> measure_layers(const StudyVariant& variant,
                                         const StudyStepContext& context);
  // Of those variants that have an accuracy.
  Result<StudyStepOutput> measure_net_latency(const std::vector<StudyVariant>& variants,
                                              const StudyStepContext& context);
  Result<StudyStepOutput> show_changed_images(const std::vector<StudyVariant>& variants,
                                              const StudyStepContext& context);

 private:
  struct Loaded {
    ModelIdentity id;
    Graph graph;
    DatasetPair data;
    std::string session_precision;  // what the session is asked for
    std::string precision;          // what it computes in
  };
  Result<DatasetPair> images_for(const Graph& graph);
  Result<DatasetPair> open(DatasetOptions options);
  Result<Loaded> load(const StudyVariant& variant, const StudyStepContext& context);
  Result<Session> session(const Loaded& model) const;
  SessionOptions session_options(const Loaded& model) const;
  int threads() const;
  Result<Graph> compressed(const Graph& graph, const std::string& recipe,
                           const StudyStepContext& context);

  const StudyConfig& config_;
  const StudyOptions& options_;
  using DataKey = std::tuple<int64_t, int64_t, bool>;  // image size, resize, stretch
  std::map<DataKey, DatasetPair> data_;
  std::shared_ptr<std::map<std::string, std::vector<DamageCurve>>> damage_ =
      std::make_shared<std::map<std::string, std::vector<DamageCurve>>>();
};

// What a session of a variant computes in: 16 bits where its weights are stored so, else as the
// file says.
std::string session_precision_of(const std::string& variant);

// The images to show: `count` indices at which some variant's answer is not the first's, each
// variant's in turn and spread over the set, ascending.
std::vector<int64_t> choose_changed_images(const std::vector<PredictionsRecord>& predictions,
                                           int64_t count);
// RFC 4648, with padding.
std::string base64(const std::vector<std::byte>& bytes);

}  // namespace pare

#endif  // PARE_STUDY_WORK_H_
