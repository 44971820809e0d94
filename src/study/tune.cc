#include "study/tune.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "base/cpu_features.h"
#include "base/file.h"
#include "compress/compress.h"
#include "compress/recipe.h"
#include "graph/model_file.h"
#include "graph/pare_file.h"
#include "measure/accuracy.h"
#include "measure/latency.h"
#include "measure/subject.h"
#include "study/work.h"

namespace pare {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kMostLineBytes = int64_t{64} << 20;

double since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

nlohmann::ordered_json json_of(const std::string& key, const TuningTry& one,
                               const std::string& file) {
  nlohmann::ordered_json line = {{"key", key}, {"recipe", one.recipe}, {"seconds", one.seconds}};
  if (!one.figures) {
    line["failure"] = one.failure;
    return line;
  }
  const TuningFigures& f = *one.figures;
  line["drop"] = f.drop;
  line["drop_low"] = f.drop_low;
  line["drop_high"] = f.drop_high;
  line["flips_percent"] = f.flips_percent;
  line["latency"] = f.latency;
  line["latency_us"] = f.latency_us;
  line["pare_bytes"] = f.pare_bytes;
  line["file"] = file;
  return line;
}

struct KnownTry {
  TuningTry one;
  std::string file;
};

// A line that a killed program cut off, or of another search, is no error: it is tried again.
std::map<std::string, KnownTry> read_tries(const std::string& text, const std::string& key) {
  std::map<std::string, KnownTry> known;
  size_t at = 0;
  while (at < text.size()) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const nlohmann::ordered_json line = nlohmann::ordered_json::parse(
        text.substr(at, end - at), nullptr, /*allow_exceptions=*/false);
    at = end + 1;
    if (!line.is_object() ||
        line.value("key", nlohmann::ordered_json()) != nlohmann::ordered_json(key))
      continue;
    try {
      KnownTry mine;
      mine.one.recipe = line.at("recipe").get<std::string>();
      mine.one.seconds = line.at("seconds").get<double>();
      if (line.contains("failure")) {
        mine.one.failure = line.at("failure").get<std::string>();
      } else {
        mine.one.figures = TuningFigures{.drop = line.at("drop").get<double>(),
                                         .drop_low = line.at("drop_low").get<double>(),
                                         .drop_high = line.at("drop_high").get<double>(),
                                         .flips_percent = line.at("flips_percent").get<double>(),
                                         .latency = line.at("latency").get<double>(),
                                         .latency_us = line.at("latency_us").get<double>(),
                                         .pare_bytes = line.at("pare_bytes").get<int64_t>()};
        mine.file = line.at("file").get<std::string>();
      }
      known[mine.one.recipe] = std::move(mine);
    } catch (const nlohmann::ordered_json::exception&) {
      continue;
    }
  }
  return known;
}

class Tuner {
 public:
  Tuner(const Graph& model, const TuningOptions& options) : model_(model), options_(options) {}

  Status prepare(const std::string& source_hash, const std::shared_ptr<const Dataset>& train) {
    const int64_t count = std::min(options_.held_out_images, train->size() / 4);
    if (count < 1)
      return invalid_argument(
          fmt::format("{} training images: at least 4 are needed to hold one out", train->size()));
    PARE_ASSIGN_OR_RETURN(images_, hold_out(train, count, options_.seed));
    key_ = fmt::format("{} {} {} {} {} {} {} {} {} {}", source_hash, train->hash(), count,
                       options_.calibration_images, options_.sensitivity_images, options_.seed,
                       options_.batch, threads(), detect_cpu().model, options_.program);
    PARE_RETURN_IF_ERROR(make_directories(options_.folder));
    PARE_RETURN_IF_ERROR(read_known());
    PARE_ASSIGN_OR_RETURN(whole_bytes_, size_of(model_));
    PARE_ASSIGN_OR_RETURN(whole_, open(model_, "float32"));
    PARE_ASSIGN_OR_RETURN(whole_answers_, evaluate(*whole_, *images_.held, progress("the model")));
    return ok_status();
  }

  Result<TuningTry> measure(const std::string& recipe) {
    if (options_.stop != nullptr && options_.stop->load()) return cancelled("the search stopped");
    if (const auto found = known_.find(recipe); found != known_.end()) {
      ++taken_over_;
      return found->second.one;
    }
    const auto begin = Clock::now();
    Result<TuningFigures> figures = make_and_measure(recipe);
    if (figures.status().code() == StatusCode::kCancelled) return figures.status();
    TuningTry one;
    one.recipe = recipe;
    one.seconds = since(begin);
    if (figures.ok()) {
      one.figures = *figures;
    } else {
      one.failure = figures.status().message();
    }
    PARE_RETURN_IF_ERROR(append_line(tries_path(), json_of(key_, one, files_[recipe]).dump()));
    return one;
  }

  int64_t model_bytes() const { return whole_bytes_; }

  // Keeps the models of the front and the best one's; the others can be made again.
  void drop_models(const TuningOutcome& so_far) {
    std::set<std::string> kept;
    for (const size_t i : tune_front(options_.goal, so_far.tries))
      kept.insert(files_[so_far.tries[i].recipe]);
    if (so_far.best) kept.insert(files_[so_far.tries[*so_far.best].recipe]);
    for (const TuningTry& one : so_far.tries) {
      const std::string& file = files_[one.recipe];
      std::error_code ignored;
      if (!file.empty() && !kept.contains(file)) std::filesystem::remove(path(file), ignored);
    }
  }

  // The best model under a name of its own, and what it does on the test images.
  Status finish(const std::shared_ptr<const Dataset>& test, TuningResult& result) {
    result.known = taken_over_;
    result.held_out = fmt::format("{} of: {}", images_.held->size(), images_.held->description());
    result.top1_held_out = top1(whole_answers_);
    result.pare_bytes = whole_bytes_;
    if (!result.outcome.best) return ok_status();
    const std::string& recipe = result.outcome.tries[*result.outcome.best].recipe;
    PARE_ASSIGN_OR_RETURN(const Graph graph, kept_or_made(recipe));
    result.best_path = path("best.pare");
    PARE_RETURN_IF_ERROR(write_pare(graph, result.best_path, {.threads = options_.threads}));
    if (test == nullptr) return ok_status();
    PARE_ASSIGN_OR_RETURN(const Evaluation before,
                          evaluate(*whole_, *test, progress("test, the model")));
    PARE_ASSIGN_OR_RETURN(Session session, open(graph, session_precision_of(recipe)));
    PARE_ASSIGN_OR_RETURN(const Evaluation after,
                          evaluate(session, *test, progress("test, the best")));
    TuningTest tested{
        .data = test->description(), .top1_before = top1(before), .top1 = top1(after)};
    PARE_ASSIGN_OR_RETURN(tested.comparison, compare_paired(before, after, class_count(*test)));
    result.test = std::move(tested);
    return ok_status();
  }

 private:
  static int64_t class_count(const Dataset& images) {
    return static_cast<int64_t>(images.classes().size());
  }
  static double top1(const Evaluation& evaluation) {
    int64_t right = 0;
    for (size_t i = 0; i < evaluation.labels.size(); ++i)
      right += evaluation.labels[i] == evaluation.predicted[i] ? 1 : 0;
    return 100.0 * static_cast<double>(right) / static_cast<double>(evaluation.labels.size());
  }

  int threads() const { return options_.threads > 0 ? options_.threads : detect_cpu().cores; }
  std::string path(const std::string& file) const { return options_.folder + "/" + file; }
  std::string tries_path() const { return path("tries.jsonl"); }
  Status read_known() {
    if (!std::filesystem::exists(tries_path())) return ok_status();
    PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(tries_path(), kMostLineBytes));
    known_ = read_tries(text, key_);
    for (const auto& [recipe, known] : known_) files_[recipe] = known.file;
    return ok_status();
  }

  EvaluationOptions progress(const std::string& what) const {
    EvaluationOptions options;
    options.progress = [this, what](int64_t done, int64_t total) {
      say(fmt::format("{}: {} of {} images", what, done, total));
    };
    return options;
  }
  void say(const std::string& line) const {
    if (options_.events.progress) options_.events.progress(line);
  }

  Result<Session> open(const Graph& graph, const std::string& precision) const {
    return Session::from_graph(graph, {.threads = threads(), .precision = precision});
  }

  Result<int64_t> size_of(const Graph& graph) const {
    const std::string whole = path("whole.pare");
    PARE_RETURN_IF_ERROR(write_pare(graph, whole, {.threads = options_.threads}));
    Result<int64_t> bytes = file_size(whole);
    std::error_code ignored;
    std::filesystem::remove(whole, ignored);
    return bytes;
  }

  Result<Graph> compressed(const std::string& recipe_text) {
    PARE_ASSIGN_OR_RETURN(const Recipe recipe, parse_recipe(recipe_text));
    CompressContext context;
    context.train = images_.kept;
    context.calibration_images = options_.calibration_images;
    context.sensitivity_images = options_.sensitivity_images;
    context.trainer = options_.trainer;
    context.threads = options_.threads;
    context.seed = options_.seed;
    context.damage_cache = damage_;
    context.stop = options_.stop;
    context.progress = [this, &recipe_text](const std::string& line) {
      say(recipe_text + ": " + line);
    };
    PARE_ASSIGN_OR_RETURN(Compressed result, compress(model_, recipe, context));
    return std::move(result.graph);
  }

  // A try of an earlier search may have left the front of that one, and its file be gone.
  Result<Graph> kept_or_made(const std::string& recipe) {
    const std::string& file = files_[recipe];
    if (!file.empty() && std::filesystem::exists(path(file))) return load_model(path(file));
    return compressed(recipe);
  }

  Result<TuningFigures> make_and_measure(const std::string& recipe) {
    PARE_ASSIGN_OR_RETURN(const Graph graph, compressed(recipe));
    TuningFigures figures;
    const std::string file = fmt::format("try-{:03}.pare", next_file());
    PARE_RETURN_IF_ERROR(write_pare(graph, path(file), {.threads = options_.threads}));
    PARE_ASSIGN_OR_RETURN(figures.pare_bytes, file_size(path(file)));
    files_[recipe] = file;
    PARE_ASSIGN_OR_RETURN(Session session, open(graph, session_precision_of(recipe)));
    PARE_ASSIGN_OR_RETURN(const Evaluation answers,
                          evaluate(session, *images_.held, progress(recipe)));
    PARE_ASSIGN_OR_RETURN(const PairedComparison paired,
                          compare_paired(whole_answers_, answers, class_count(*images_.held)));
    figures.drop = -paired.difference;
    figures.drop_low = -paired.difference_high;
    figures.drop_high = -paired.difference_low;
    figures.flips_percent = paired.flips_percent;
    if (options_.seconds > 0) PARE_RETURN_IF_ERROR(time(recipe, session, figures));
    return figures;
  }

  // In turns with the whole model.
  Status time(const std::string& recipe, Session& session, TuningFigures& figures) {
    say(recipe + ": timing");
    std::vector<LatencySubject> subjects(2);
    subjects[0].session = &*whole_;
    subjects[1].session = &session;
    subjects[0].id.model = "the model";
    subjects[1].id.model = recipe;
    for (LatencySubject& subject : subjects) {
      subject.precision = "float32";
      subject.threads = threads();
    }
    LatencyOptions latency;
    latency.batch = options_.batch;
    latency.seconds = options_.seconds;
    PARE_ASSIGN_OR_RETURN(const std::vector<LatencyRecord> records,
                          measure_latency(subjects, *images_.held, latency));
    figures.latency_us = records[1].latency_us_p50;
    figures.latency = figures.latency_us / records[0].latency_us_p50;
    return ok_status();
  }

  int next_file() {
    while (std::filesystem::exists(path(fmt::format("try-{:03}.pare", number_)))) ++number_;
    return number_++;
  }

  const Graph& model_;
  const TuningOptions& options_;
  HeldOut images_;
  std::string key_;
  std::optional<Session> whole_;
  Evaluation whole_answers_;
  int64_t whole_bytes_ = 0;
  std::map<std::string, KnownTry> known_;     // by recipe
  std::map<std::string, std::string> files_;  // recipe -> its model's file; gone when dominated
  int64_t taken_over_ = 0;
  int number_ = 1;
  std::shared_ptr<std::map<std::string, std::vector<DamageCurve>>> damage_ =
      std::make_shared<std::map<std::string, std::vector<DamageCurve>>>();
};

}  // namespace

Result<TuningResult> tune_model(const Graph& model, const std::string& source_hash,
                                const std::shared_ptr<const Dataset>& train,
                                const std::shared_ptr<const Dataset>& test,
                                const TuningOptions& options) {
  PARE_ASSIGN_OR_RETURN(const Recipe any, parse_recipe("int8"));
  PARE_RETURN_IF_ERROR(check_compressible(model, any));
  const auto begin = Clock::now();
  Tuner tuner(model, options);
  PARE_RETURN_IF_ERROR(tuner.prepare(source_hash, train));
  TuningSearch search;
  search.measure = [&](const std::string& recipe) { return tuner.measure(recipe); };
  search.elapsed_seconds = [&] { return since(begin); };
  search.model_bytes = tuner.model_bytes();
  search.tried = [&](const TuningOutcome& so_far) {
    tuner.drop_models(so_far);
    if (options.events.tried) options.events.tried(so_far.tries.back(), so_far);
  };
  TuningResult result;
  PARE_ASSIGN_OR_RETURN(result.outcome, search_recipes(options.goal, search));
  PARE_RETURN_IF_ERROR(tuner.finish(test, result));
  return result;
}

}  // namespace pare
