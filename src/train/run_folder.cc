#include "train/run_folder.h"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <sstream>
#include <type_traits>
#include <utility>

#include "base/file.h"
#include "records/record.h"
#include "records/schema.h"

namespace pare {
namespace {

using nlohmann::json;

constexpr int64_t kMaxLogBytes = int64_t{1} << 30;

const char* const kLogFile = "/log.jsonl";
const char* const kRecordsFile = "/records.jsonl";

template <typename T>
Status read_number(const json& state, const char* key, T& out) {
  const auto it = state.find(key);
  if (it == state.end() || !(std::is_integral_v<T> ? it->is_number_integer() : it->is_number())) {
    return corrupt(fmt::format("its state lacks the number '{}'", key));
  }
  out = it->get<T>();
  return ok_status();
}

Status same_text(const json& state, const char* key, const std::string& now, const char* what) {
  const auto it = state.find(key);
  if (it == state.end() || !it->is_string()) {
    return corrupt(fmt::format("its state lacks '{}'", key));
  }
  if (it->get<std::string>() == now) return ok_status();
  return invalid_argument(fmt::format("it belongs to a run with {}", what));
}

// "optimiser.lr = 0.1 there, 0.2 here": the first line in which two recipes differ.
std::string first_difference(const std::string& there, const std::string& here) {
  std::istringstream a(there);
  std::istringstream b(here);
  std::string line_a;
  std::string line_b;
  while (std::getline(a, line_a) && std::getline(b, line_b)) {
    if (line_a != line_b) {
      return fmt::format("another recipe: there '{}', here '{}'",
                         line_a.substr(0, line_a.find("  #")),
                         line_b.substr(0, line_b.find("  #")));
    }
  }
  return "another recipe";
}

// A run that was killed while it wrote a checkpoint leaves its temporary file (base/file.h): with
// AlexNet 280 MB each time.
void remove_unfinished(const std::string& checkpoint) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const std::string stem = fs::path(checkpoint).filename().string() + ".";
  for (const auto& entry : fs::directory_iterator(fs::path(checkpoint).parent_path(), ignored)) {
    if (entry.path().filename().string().starts_with(stem)) fs::remove(entry.path(), ignored);
  }
}

}  // namespace

Status RunFolder::check(const std::string& path, bool resume) {
  if (path.empty()) return ok_status();
  const RunFolder folder(path);
  if (resume) {
    if (!is_directory(path)) {
      return not_found(path + ": no run to go on with: there is no such folder");
    }
    if (file_exists(folder.checkpoint_path())) return ok_status();
    return not_found(
        fmt::format("{}: no run to go on with: {} is missing", path, folder.checkpoint_path()));
  }
  for (const std::string& held : {folder.checkpoint_path(), folder.model_path()}) {
    if (file_exists(held)) {
      return invalid_argument(
          fmt::format("{}: holds a training run already; go on with it (--resume) or name another "
                      "folder (--out)",
                      path));
    }
  }
  return check_can_make_folder(path);
}

Result<RunFolder> RunFolder::begin(const std::string& path, const TrainRecipe& recipe) {
  RunFolder folder(path);
  if (path.empty()) return folder;
  PARE_RETURN_IF_ERROR(check(path, /*resume=*/false));
  PARE_RETURN_IF_ERROR(make_directories(path));
  // Logs of a run that died before its first checkpoint are of no use to this one.
  PARE_RETURN_IF_ERROR(write_file(path + kLogFile, std::string_view()));
  PARE_RETURN_IF_ERROR(write_file(path + kRecordsFile, std::string_view()));
  PARE_RETURN_IF_ERROR(write_file(path + "/recipe.toml", recipe_toml(recipe)));
  PARE_RETURN_IF_ERROR(folder.open_events());
  return folder;
}

Result<RunFolder> RunFolder::reopen(const std::string& path) {
  PARE_RETURN_IF_ERROR(check(path, /*resume=*/true));
  RunFolder folder(path);
  remove_unfinished(folder.checkpoint_path());
  PARE_RETURN_IF_ERROR(folder.open_events());
  return folder;
}

Status RunFolder::open_events() {
  PARE_ASSIGN_OR_RETURN(events_, EventFile::create(path_));
  return ok_status();
}

Status RunFolder::rewind_logs(const RunPosition& position) {
  if (!keeps()) return ok_status();
  PARE_RETURN_IF_ERROR(rewind_file(path_ + kLogFile, position.step, position.reported_epochs));
  return rewind_file(path_ + kRecordsFile, position.step, position.reported_epochs);
}

Status RunFolder::rewind_file(const std::string& file, int64_t last_step,
                              int64_t last_epoch) const {
  PARE_ASSIGN_OR_RETURN(const std::string text, read_text_file(file, kMaxLogBytes));
  std::string kept;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    const json event = json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!event.is_object()) continue;  // cut short when the run was killed
    const auto kind = event.find("event");
    const bool epoch = kind == event.end() || *kind == "epoch";  // records have no "event"
    const auto where = event.find(epoch ? "epoch" : "step");
    const int64_t at =
        where != event.end() && where->is_number_integer() ? where->get<int64_t>() : 0;
    if (at <= (epoch ? last_epoch : last_step)) kept += line + "\n";
  }
  return write_file(file, kept);
}

Status RunFolder::log(const json& event) {
  return keeps() ? append_line(path_ + kLogFile,
                               event.dump(-1, ' ', false, json::error_handler_t::replace))
                 : ok_status();
}

Status RunFolder::log_step(const StepReport& report) {
  if (!keeps()) return ok_status();
  PARE_RETURN_IF_ERROR(log({{"event", "step"},
                            {"step", report.step},
                            {"epoch", report.epoch},
                            {"loss", report.loss},
                            {"learning_rate", report.learning_rate},
                            {"images_per_s", report.images_per_s}}));
  const std::array<std::pair<std::string, double>, 3> scalars = {
      {{"train/loss", report.loss},
       {"train/learning_rate", report.learning_rate},
       {"train/images_per_s", report.images_per_s}}};
  return events_->add(report.step, scalars);
}

Status RunFolder::log_epoch(const TrainRun& run, const EpochReport& report) {
  if (!keeps()) return ok_status();
  EpochRecord record;
  record.run = path_;
  record.net = run.recipe.model.name;
  record.data = run.data.train->description();
  record.recipe = run.recipe.name;
  record.epoch = report.epoch;
  record.epochs = report.epochs;
  record.train_loss = report.train_loss;
  record.learning_rate = report.learning_rate;
  record.validation_loss = report.validation_loss;
  record.validation_top1 = report.validation_top1;
  record.validation_top5 = report.validation_top5;
  record.images = report.images;
  record.seconds = report.seconds;
  PARE_RETURN_IF_ERROR(append(path_ + kRecordsFile, record, current_context()));
  json event = {{"event", "epoch"},
                {"step", report.step},
                {"epoch", report.epoch},
                {"train_loss", report.train_loss},
                {"seconds", report.seconds}};
  std::vector<std::pair<std::string, double>> scalars = {{"epoch/train_loss", report.train_loss}};
  if (report.validation_top1) {
    event["validation_loss"] = *report.validation_loss;
    event["validation_top1"] = *report.validation_top1;
    event["validation_top5"] = *report.validation_top5;
    scalars.emplace_back("epoch/validation_loss", *report.validation_loss);
    scalars.emplace_back("epoch/validation_top1", *report.validation_top1);
    scalars.emplace_back("epoch/validation_top5", *report.validation_top5);
  }
  PARE_RETURN_IF_ERROR(log(event));
  return events_->add(report.step, scalars);
}

json position_to_json(const RunPosition& position, const RunIdentity& identity) {
  return {{"step", position.step},
          {"reported_epochs", position.reported_epochs},
          {"epoch_loss", position.epoch_loss},
          {"epoch_batches", position.epoch_batches},
          {"epoch_seconds", position.epoch_seconds},
          {"seconds", position.seconds},
          {"recipe", identity.recipe},
          {"data", identity.data},
          {"network", identity.network},
          {"device", identity.device},
          {"threads", identity.threads},
          {"ranks", identity.ranks}};
}

Result<RunPosition> position_from_json(const json& state, const RunIdentity& identity) {
  if (!state.is_object()) return corrupt("its state is no object");
  RunPosition position;
  PARE_RETURN_IF_ERROR(read_number(state, "step", position.step));
  PARE_RETURN_IF_ERROR(read_number(state, "reported_epochs", position.reported_epochs));
  PARE_RETURN_IF_ERROR(read_number(state, "epoch_loss", position.epoch_loss));
  PARE_RETURN_IF_ERROR(read_number(state, "epoch_batches", position.epoch_batches));
  PARE_RETURN_IF_ERROR(read_number(state, "epoch_seconds", position.epoch_seconds));
  PARE_RETURN_IF_ERROR(read_number(state, "seconds", position.seconds));
  if (position.step < 0 || position.reported_epochs < 0 || position.epoch_batches < 0) {
    return corrupt("its position is negative");
  }
  const auto saved = state.find("recipe");
  const std::string recipe =
      saved != state.end() && saved->is_string() ? saved->get<std::string>() : std::string();
  PARE_RETURN_IF_ERROR(same_text(state, "recipe", identity.recipe,
                                 first_difference(recipe, identity.recipe).c_str()));
  PARE_RETURN_IF_ERROR(same_text(state, "data", identity.data, "other training images"));
  PARE_RETURN_IF_ERROR(same_text(state, "network", identity.network, "another network"));
  return position;
}

}  // namespace pare
