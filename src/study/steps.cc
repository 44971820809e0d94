#include "study/steps.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <thread>

#include "base/file.h"
#include "study/claims.h"

namespace pare {
namespace {

namespace fs = std::filesystem;

using Inputs = std::map<std::string, std::string>;

constexpr const char* kStepFile = "step.json";
constexpr const char* kRecordsFile = "records.jsonl";
constexpr int64_t kMaxStepFileBytes = 16 << 20;

std::string hash_text(const std::string& text) {
  return hash_bytes(std::as_bytes(std::span(text)));
}

// "alexnet prune:0.9: accuracy" -> "alexnet-prune-0.9-accuracy", with part of a hash so that no two
// names share a folder.
std::string folder_name(const std::string& step) {
  constexpr size_t kMaxName = 80;
  constexpr size_t kHashDigits = 8;
  std::string name;
  for (const char c : step) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '_';
    if (plain) {
      name += c;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  return name.substr(0, kMaxName) + "-" + hash_text(step).substr(0, kHashDigits);
}

// Of records: everything but the context, in which only date and machine stand.
std::string hash_records(const std::vector<Record>& records) {
  std::string text;
  for (const Record& r : records) {
    text += r.kind + r.fields.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
  }
  return hash_text(text);
}

// What step.json says.
struct Note {
  Inputs inputs;
  bool finished = false;
  std::map<std::string, std::string> files;  // name -> hash
  double seconds = 0;
};

// Nothing if there is none, or it is not what this program writes: the step is then run anew.
std::optional<Note> read_note(const std::string& folder) {
  const auto text = read_text_file(folder + "/" + kStepFile, kMaxStepFileBytes);
  if (!text.ok()) return std::nullopt;
  try {
    const Json json = Json::parse(*text);
    Note note;
    note.inputs = json.at("inputs").get<Inputs>();
    note.finished = json.at("finished").get<bool>();
    note.files = json.at("files").get<std::map<std::string, std::string>>();
    note.seconds = json.at("seconds").get<double>();
    return note;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

Status write_note(const std::string& folder, const std::string& step, const Note& note) {
  const Json json = {{"step", step},
                     {"inputs", note.inputs},
                     {"finished", note.finished},
                     {"files", note.files},
                     {"seconds", note.seconds}};
  return write_file(folder + "/" + kStepFile,
                    json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

Status remove_folder(const std::string& path) {
  std::error_code error;
  fs::remove_all(path, error);
  return error ? io_error(path + ": cannot be removed: " + error.message()) : ok_status();
}

Status move_folder(const std::string& from, const std::string& to) {
  PARE_RETURN_IF_ERROR(remove_folder(to));
  std::error_code error;
  fs::rename(from, to, error);
  return error ? io_error(fmt::format("{}: cannot be moved to {}: {}", from, to, error.message()))
               : ok_status();
}

// "the model changed", "the model and the settings changed"
std::string changed_text(const Inputs& before, const Inputs& now) {
  std::vector<std::string> changed;
  for (const auto& [name, value] : now) {
    const auto found = before.find(name);
    if (found == before.end() || found->second != value) changed.push_back(name);
  }
  for (const auto& [name, value] : before) {
    if (!now.contains(name)) changed.push_back(name);
  }
  std::string text;
  for (size_t i = 0; i < changed.size(); ++i) {
    if (i > 0) text += i + 1 == changed.size() ? " and " : ", ";
    text += changed[i];
  }
  return text + " changed";
}

}  // namespace

class StepRunner {
 public:
  StepRunner(std::string study, const StudyOptions& options)
      : study_(std::move(study)), options_(options), claims_(options.folder + "/claims") {}

  Status run(const std::vector<StudyStep>& steps);
  StudyResult take() { return std::move(result_); }

 private:
  // How a step came out, or will.
  struct Outcome {
    std::string status;
    std::string cause;
    double seconds = 0;
  };
  Status run_shared(const std::vector<StudyStep>& steps, bool finishing);
  StepRecord record_of(const StudyStep& step, const Outcome& outcome) const {
    return {.study = study_,
            .step = step.name,
            .status = outcome.status,
            .cause = outcome.cause,
            .seconds = outcome.seconds};
  }
  Result<bool> try_shared(const StudyStep& step, int number, int count);
  Status finish(const std::vector<StudyStep>& steps);
  void leave(const std::vector<StudyStep>& steps);
  Result<Outcome> visit(const StudyStep& step, int number, int count);
  Result<Outcome> run_one(const StudyStep& step, const Inputs& inputs, std::string cause);
  Result<StudyStepOutput> run_in(const StudyStep& step, const std::string& folder);
  std::string missing_need(const StudyStep& step) const;
  Inputs inputs_of(const StudyStep& step) const;
  bool find(const StudyStep& step, const Inputs& inputs, std::string& cause);
  bool accept(const StudyStep& step, const std::string& folder, const Note& note);
  Status write_records();

  std::string finished_folder(const StudyStep& step) const {
    return options_.folder + "/steps/" + folder_name(step.name);
  }
  std::string unfinished_folder(const StudyStep& step) const {
    return options_.folder + "/unfinished/" + folder_name(step.name);
  }
  bool stopping() const { return options_.stop != nullptr && options_.stop->load(); }

  std::string study_;
  const StudyOptions& options_;
  StudyResults results_;
  Claims claims_;
  std::map<std::string, Outcome> shared_;  // shared steps that are done with
  std::set<std::string> told_;             // of them those whose end was told
  std::set<std::string> will_run_;         // in a dry run: their results are not known
  StudyResult result_;
};

std::string StepRunner::missing_need(const StudyStep& step) const {
  size_t optional = 0;
  size_t there = 0;
  for (const StudyNeed& need : step.needs) {
    const bool has = results_.has(need.step) || will_run_.contains(need.step);
    if (need.optional) {
      ++optional;
      there += has ? 1 : 0;
    } else if (!has) {
      return need.step;
    }
  }
  return optional > 0 && there == 0 ? step.needs.back().step : "";
}

Inputs StepRunner::inputs_of(const StudyStep& step) const {
  Inputs inputs = step.inputs;
  for (const StudyNeed& need : step.needs) {
    const bool has = results_.has(need.step);
    const std::string value = !has ? "none" : need.keyed ? results_.hash(need.step) : "there";
    inputs[need.what] = value;
  }
  return inputs;
}

// Reads a finished step's folder; false when something in it is not what it was.
bool StepRunner::accept(const StudyStep& step, const std::string& folder, const Note& note) {
  StudyResults::Finished finished;
  std::string hashes;
  for (const auto& [file, hash] : note.files) {
    const auto found = hash_file(fmt::format("{}/{}", folder, file));
    if (!found.ok() || *found != hash) return false;
    if (file != kRecordsFile) hashes += fmt::format("{} {}\n", file, hash);
  }
  auto records = read_records(folder + "/" + kRecordsFile);
  if (!records.ok()) return false;
  finished.hash = hash_text(hashes + hash_records(*records));
  finished.records = *std::move(records);
  finished.folder = folder;
  finished.seconds = note.seconds;
  results_.finished_[step.name] = std::move(finished);
  return true;
}

// Whether the step's result is there already; if not, why it has to be run.
bool StepRunner::find(const StudyStep& step, const Inputs& inputs, std::string& cause) {
  cause = "no result yet";
  const std::string folder = finished_folder(step);
  if (const auto note = read_note(folder); note && note->finished) {
    if (note->inputs != inputs) {
      cause = changed_text(note->inputs, inputs);
    } else if (accept(step, folder, *note)) {
      return true;
    } else {
      cause = "its files were changed or removed";
    }
  }
  const std::string unfinished = unfinished_folder(step);
  if (const auto note = read_note(unfinished); note && note->inputs == inputs) {
    // Killed after its last word, before it was moved to its place.
    if (note->finished && accept(step, unfinished, *note)) return true;
    cause = "it was interrupted";
  }
  return false;
}

Result<StudyStepOutput> StepRunner::run_in(const StudyStep& step, const std::string& folder) {
  const StudyStepContext context{folder, results_, options_.events};
  PARE_ASSIGN_OR_RETURN(StudyStepOutput output, step.run(context));
  std::string lines;
  for (const Record& record : output.records) {
    PARE_RETURN_IF_ERROR(check_record(record).with_context(step.name));
    lines += record_line(record) + "\n";
  }
  PARE_RETURN_IF_ERROR(write_file(folder + "/" + kRecordsFile, lines));
  output.files.emplace_back(kRecordsFile);
  return output;
}

Result<StepRunner::Outcome> StepRunner::run_one(const StudyStep& step, const Inputs& inputs,
                                                std::string cause) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&start] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const std::string folder = unfinished_folder(step);
  if (const auto old = read_note(folder); !old || old->inputs != inputs) {
    PARE_RETURN_IF_ERROR(remove_folder(folder));
  }
  PARE_RETURN_IF_ERROR(make_directories(folder));
  Note note{.inputs = inputs, .files = {}};
  PARE_RETURN_IF_ERROR(write_note(folder, step.name, note));
  auto output = run_in(step, folder);
  if (!output.ok()) {
    if (output.status().code() == StatusCode::kCancelled) return output.status();
    return Outcome{"failed", output.status().message(), seconds()};
  }
  note.finished = true;
  note.seconds = seconds();
  for (const std::string& file : output->files) {
    PARE_ASSIGN_OR_RETURN(note.files[file], hash_file(fmt::format("{}/{}", folder, file)));
  }
  PARE_RETURN_IF_ERROR(write_note(folder, step.name, note));
  PARE_RETURN_IF_ERROR(move_folder(folder, finished_folder(step)));
  if (!accept(step, finished_folder(step), note)) {
    return internal_error(fmt::format("step '{}': its result cannot be read back", step.name));
  }
  return Outcome{"ran", std::move(cause), note.seconds};
}

Result<StepRunner::Outcome> StepRunner::visit(const StudyStep& step, int number, int count) {
  if (!step.left_out.empty()) return Outcome{"left out", step.left_out};
  if (const auto done = shared_.find(step.name); done != shared_.end()) return done->second;
  if (const std::string need = missing_need(step); !need.empty()) {
    return Outcome{"left out", fmt::format("it needs '{}', which has no result", need)};
  }
  // What a dry run does not know, because a step it needs would run first.
  for (const StudyNeed& need : step.needs) {
    if (!will_run_.contains(need.step)) continue;
    will_run_.insert(step.name);
    return Outcome{"to run", fmt::format("after '{}'", need.step)};
  }
  const Inputs inputs = inputs_of(step);
  std::string cause;
  if (find(step, inputs, cause)) {
    StudyResults::Finished& found = results_.finished_.at(step.name);
    if (!options_.dry_run && found.folder == unfinished_folder(step)) {
      PARE_RETURN_IF_ERROR(move_folder(found.folder, finished_folder(step)));
      found.folder = finished_folder(step);
    }
    return Outcome{"cached", "nothing it depends on changed", found.seconds};
  }
  if (options_.dry_run) {
    will_run_.insert(step.name);
    return Outcome{"to run", cause};
  }
  if (stopping()) return cancelled("stopped before step '" + step.name + "'");
  if (options_.events.begins) options_.events.begins(step.name, number, count);
  return run_one(step, inputs, std::move(cause));
}

// One look at a shared step; true once it is done with, false while another program is at it.
Result<bool> StepRunner::try_shared(const StudyStep& step, int number, int count) {
  if (shared_.contains(step.name)) return true;
  PARE_ASSIGN_OR_RETURN(const std::unique_ptr<Claim> claim, claims_.take(folder_name(step.name)));
  if (claim == nullptr) return false;
  PARE_ASSIGN_OR_RETURN(const Outcome outcome, visit(step, number, count));
  shared_[step.name] = outcome;
  if (outcome.status == "cached") return true;  // its end is told with the others'
  if (options_.events.ends) options_.events.ends(record_of(step, outcome), number, count);
  told_.insert(step.name);
  return true;
}

// Runs the shared steps that nobody else runs. `finishing`: until all are done, with those whose
// program died in the meantime.
Status StepRunner::run_shared(const std::vector<StudyStep>& steps, bool finishing) {
  const auto count = static_cast<int>(steps.size());
  while (true) {
    bool elsewhere = false;
    for (int i = 0; i < count; ++i) {
      const StudyStep& step = steps[static_cast<size_t>(i)];
      if (!step.shared || !step.left_out.empty()) continue;
      PARE_ASSIGN_OR_RETURN(const bool done, try_shared(step, i + 1, count));
      if (!done && options_.events.progress) {
        options_.events.progress(fmt::format("{}: at work on {}", step.name, claims_.holder()));
      }
      elsewhere = elsewhere || !done;
    }
    if (!elsewhere || !finishing) return ok_status();
    if (stopping()) return cancelled("stopped while other jobs were training");
    constexpr std::chrono::milliseconds kLook{500};
    std::this_thread::sleep_for(kLook);
  }
}

Status StepRunner::run(const std::vector<StudyStep>& steps) {
  if (options_.dry_run) return finish(steps);
  std::unique_ptr<Claim> finishing;
  const auto ask = [&]() -> Status {
    if (options_.only_shared) return ok_status();
    PARE_ASSIGN_OR_RETURN(finishing, claims_.take("finish"));
    return ok_status();
  };
  PARE_RETURN_IF_ERROR(ask());
  PARE_RETURN_IF_ERROR(run_shared(steps, finishing != nullptr));
  // Who was to finish it may have died.
  if (finishing == nullptr) PARE_RETURN_IF_ERROR(ask());
  if (finishing == nullptr) {
    leave(steps);
    return ok_status();
  }
  PARE_RETURN_IF_ERROR(run_shared(steps, /*finishing=*/true));
  return finish(steps);
}

// Another program has the rest.
void StepRunner::leave(const std::vector<StudyStep>& steps) {
  result_.finished = false;
  for (const StudyStep& step : steps) {
    const auto done = shared_.find(step.name);
    const Outcome outcome = done != shared_.end()
                                ? done->second
                                : Outcome{"left out", "another job of this study does it"};
    result_.failed += outcome.status == "failed" ? 1 : 0;
    result_.steps.push_back(record_of(step, outcome));
  }
}

Status StepRunner::finish(const std::vector<StudyStep>& steps) {
  const auto count = static_cast<int>(steps.size());
  for (int i = 0; i < count; ++i) {
    const StudyStep& step = steps[static_cast<size_t>(i)];
    PARE_ASSIGN_OR_RETURN(const Outcome outcome, visit(step, i + 1, count));
    result_.failed += outcome.status == "failed" ? 1 : 0;
    result_.steps.push_back(record_of(step, outcome));
    if (options_.events.ends && !told_.contains(step.name)) {
      options_.events.ends(result_.steps.back(), i + 1, count);
    }
    if (!results_.has(step.name)) continue;
    const std::vector<Record>& records = results_.records(step.name);
    result_.records.insert(result_.records.end(), records.begin(), records.end());
  }
  return options_.dry_run ? ok_status() : write_records();
}

Status StepRunner::write_records() {
  const Json context = current_context();
  for (const StepRecord& step : result_.steps) {
    PARE_ASSIGN_OR_RETURN(Record record, to_record(step, context));
    result_.records.push_back(std::move(record));
  }
  std::string lines;
  for (const Record& record : result_.records) lines += record_line(record) + "\n";
  result_.records_path = options_.folder + "/" + kRecordsFile;
  return write_file(result_.records_path, lines);
}

const StudyResults::Finished& StudyResults::find(const std::string& step) const {
  static const Finished kNone;
  const auto found = finished_.find(step);
  return found == finished_.end() ? kNone : found->second;
}

std::string StudyResults::path(const std::string& step, const std::string& file) const {
  return find(step).folder + "/" + file;
}

const std::vector<Record>& StudyResults::records(const std::string& step) const {
  return find(step).records;
}

const std::string& StudyResults::hash(const std::string& step) const { return find(step).hash; }

Result<StudyResult> run_steps(const std::string& study, const std::vector<StudyStep>& steps,
                              const StudyOptions& options) {
  if (!options.dry_run) {
    for (const char* part : {"/steps", "/unfinished", "/claims"}) {
      PARE_RETURN_IF_ERROR(make_directories(options.folder + part));
    }
  }
  StepRunner runner(study, options);
  PARE_RETURN_IF_ERROR(runner.run(steps));
  return runner.take();
}

}  // namespace pare
