// pare train: trains a model by a recipe.

#include "train/train.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "base/process_age.h"
#include "base/stats.h"
#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/stop_signal.h"
#include "cli/train_material.h"
#include "cli/train_progress.h"
#include "cli/train_teacher.h"
#include "cli/trainer.h"
#include "cli/usage.h"
#include "train/device.h"
#include "train/rank_place.h"
#include "train/ranks.h"
#include "train/recipe.h"
#include "train/run_folder.h"

namespace pare {
namespace {

// An option that stands for --set FIELD=VALUE.
struct Shorthand {
  std::string option;      // "--epochs"
  std::string assignment;  // "train.epochs=3"
};

struct Options {
  std::string model;
  std::string recipe;
  std::string folder;
  std::vector<std::string> settings;  // --set
  std::vector<Shorthand> shorthands;
  bool resume = false;
  bool show_recipe = false;
  bool show_fields = false;
  bool strict = false;
  bool json = false;
  int threads = 0;
  std::string device = "auto";
};

// The recipe that serves a model when none is named: its own, its family's, or fine-tuning for a
// file.
std::string recipe_for(const std::string& model) {
  const std::vector<std::string> names = builtin_recipe_names();
  if (std::find(names.begin(), names.end(), model) != names.end()) return model;
  if (is_model_file(model)) return "finetune";
  return model.starts_with("vit") ? "vit-seed" : "wrn-16-8";
}

Result<TrainRecipe> resolve_recipe(const Options& o) {
  if (o.resume) {
    if (!o.model.empty() || !o.recipe.empty() || !o.settings.empty() || !o.shorthands.empty()) {
      return invalid_argument(
          "--resume goes on with the folder's own recipe: only --out, --threads and --device go "
          "with it");
    }
    return load_train_recipe(o.folder + "/recipe.toml");
  }
  if (o.model.empty() && o.recipe.empty()) {
    return invalid_argument("what to train? Name it with --model or --recipe");
  }
  PARE_ASSIGN_OR_RETURN(TrainRecipe recipe,
                        load_train_recipe(o.recipe.empty() ? recipe_for(o.model) : o.recipe));
  if (!o.model.empty()) recipe.model.name = o.model;
  for (const Shorthand& given : o.shorthands) {
    PARE_RETURN_IF_ERROR(set_recipe_field(recipe, given.assignment, given.option));
  }
  for (const std::string& assignment : o.settings) {
    PARE_RETURN_IF_ERROR(set_recipe_field(recipe, assignment));
  }
  PARE_RETURN_IF_ERROR(check_train_recipe(recipe));
  return recipe;
}

// "runs/vit-ti_4-vit-seed": where a run goes that is given no folder.
std::string default_folder(const TrainRecipe& recipe) {
  std::string stem = recipe.model.name;
  if (const size_t slash = stem.rfind('/'); is_model_file(stem) && slash != std::string::npos) {
    stem = stem.substr(slash + 1);
  }
  std::replace(stem.begin(), stem.end(), '/', '_');
  return "runs/" + (recipe.name == stem || recipe.name.empty() ? stem : stem + "-" + recipe.name);
}

void print_fields() {
  TrainRecipe recipe;
  for (const TrainRecipeField& field : recipe_fields(recipe)) {
    std::string range;
    if (!field.choices.empty()) range = fmt::format(" ({})", fmt::join(field.choices, ", "));
    fmt::print("{:28}  {}{}\n", field.key, field.meaning, range);
  }
}

// "4, 94.2 MB of gradients a step, on their way for 31.0 ms, 4.1 of them after the backward pass"
std::string traffic_text(const GradientTraffic& traffic, int ranks) {
  const auto steps = static_cast<double>(std::max<int64_t>(1, traffic.steps));
  std::string text = fmt::format("{}, {:.1f} MB of gradients a step", ranks,
                                 static_cast<double>(traffic.bytes) / steps / 1e6);
  if (traffic.busy_s > 0) {
    text += fmt::format(", on their way for {:.1f} ms, {:.1f} of them after the backward pass",
                        1e3 * traffic.busy_s / steps, 1e3 * traffic.exposed_s / steps);
  }
  return text;
}

void print_result(const TrainRecipe& recipe, const TrainResult& result, const Ranks* ranks) {
  fmt::print("model         {}\n", result.model_path);
  fmt::print("weights hash  {}\n", result.weights_hash);
  fmt::print("trained       {} steps in {}{}\n", result.steps, clock_text(result.seconds),
             result.gpu_share
                 ? fmt::format(", the GPU at work {:.1f} % of it", 100 * *result.gpu_share)
                 : "");
  if (ranks != nullptr && result.traffic) {
    fmt::print("ranks         {}\n", traffic_text(*result.traffic, ranks->size()));
  }
  if (result.images == 0) return;
  const auto right =
      static_cast<int64_t>(result.top1 / 100 * static_cast<double>(result.images) + 0.5);
  const Interval interval = wilson_interval(right, result.images);
  fmt::print("top-1         {:.2f} % ({:.2f} to {:.2f}), top-5 {:.2f} %, on {} images\n",
             result.top1, 100 * interval.low, 100 * interval.high, result.top5, result.images);
  if (const int64_t views = recipe.train.test_views; views > 1) {
    fmt::print("              {:.2f} % with the scores of {} views of each image averaged\n",
               result.views_top1, views);
  }
  if (const auto age = process_age_s()) {
    fmt::print("known         {:.2f} s after the program was started\n", *age);
  }
  if (recipe.data.path.empty()) {
    fmt::print("trained on the built-in images only: --data DIR takes a whole data set\n");
  }
}

void print_json(const TrainRecipe& recipe, const TrainResult& result, const Ranks* ranks) {
  nlohmann::json out = {{"model", result.model_path}, {"net", recipe.model.name},
                        {"recipe", recipe.name},      {"weights_hash", result.weights_hash},
                        {"steps", result.steps},      {"seconds", result.seconds}};
  if (result.gpu_share) out["gpu_share"] = *result.gpu_share;
  if (ranks != nullptr && result.traffic) {
    out["ranks"] = ranks->size();
    out["gradients"] = {{"steps", result.traffic->steps},
                        {"bytes", result.traffic->bytes},
                        {"busy_s", result.traffic->busy_s},
                        {"exposed_s", result.traffic->exposed_s}};
  }
  if (result.images > 0) {
    out["images"] = result.images;
    out["top1"] = result.top1;
    out["top5"] = result.top5;
    out["loss"] = result.test_loss;
    if (recipe.train.test_views > 1) {
      out["views"] = recipe.train.test_views;
      out["views_top1"] = result.views_top1;
    }
    if (const auto age = process_age_s()) out["seconds_since_start"] = *age;
  }
  print_indented(out);
}

// What the run tells goes to `progress`; both must stay where they are.
void show_events(TrainRun& run, TrainProgress& progress) {
  run.events.begins = [&progress, &run] {
    for (const std::string& warning : run.data.warnings) progress.note(warning);
    progress.note(fmt::format("{} by recipe {}, on {}, into {}", run.recipe.model.name,
                              run.recipe.name, run.data.train->description(), run.folder));
    if (run.ranks == nullptr) return;
    progress.note(fmt::format("{} ranks, started by {}: each batch is shared out among them",
                              run.ranks->size(), run.ranks->place().launcher));
  };
  run.events.step = [&progress, stop = run.stop](const StepReport& r) {
    if (!stop->load()) progress.step(r);  // the bar would wipe what Ctrl-C said
  };
  run.events.epoch = [&progress](const EpochReport& r) { progress.epoch(r); };
  run.events.note = [&progress](const std::string& line) { progress.note(line); };
}

// Data is fetched and split once where ranks share a disk: first by rank 0, then by one rank of
// each host, then by the others.
Result<TrainMaterial> load_in_turn(TrainRecipe& recipe, bool strict, Ranks* ranks) {
  if (ranks == nullptr) return load_train_material(recipe, strict);
  const int mine = ranks->leads() ? 0 : ranks->place().local_rank == 0 ? 1 : 2;
  TrainMaterial material;
  for (int turn = 0; turn < 3; ++turn) {
    if (turn == mine) {
      PARE_ASSIGN_OR_RETURN(material, load_train_material(recipe, strict));
    }
    PARE_RETURN_IF_ERROR(ranks->meet());
  }
  return material;
}

// `ranks` may be null.
Result<TrainResult> train_with_teacher(const Options& o, TrainRecipe& recipe, Ranks* ranks) {
  PARE_ASSIGN_OR_RETURN(TrainMaterial material, load_in_turn(recipe, o.strict, ranks));
  TrainProgress progress(stderr_is_terminal());
  TrainRun run;
  run.recipe = recipe;
  run.graph = std::move(material.graph);
  run.data = std::move(material.data);
  run.folder = o.folder;
  run.resume = o.resume;
  run.threads = o.threads;
  run.device = o.device;
  run.stop = take_stop_signals();
  run.ranks = ranks;
  if (ranks == nullptr || ranks->leads()) show_events(run, progress);
  const auto teacher = find_teacher(run);
  if (!teacher.ok()) {
    progress.wipe();
    return teacher.status();
  }
  run.teacher = teacher->has_value() ? &**teacher : nullptr;
  auto trained = train(run);
  progress.wipe();
  return trained;
}

// The recipe of the run; settles what `o` leaves open: the folder, and whether the run goes on.
// `restarted`: by a launcher, with the command line that began the run.
Result<TrainRecipe> decide(Options& o, bool restarted) {
  if (o.resume && o.folder.empty()) {
    return invalid_argument("--resume needs the folder of the run (--out)");
  }
  const bool at_teacher = o.resume && stopped_at_teacher(o.folder);
  if (o.resume && !at_teacher) PARE_RETURN_IF_ERROR(RunFolder::check(o.folder, o.resume));
  PARE_ASSIGN_OR_RETURN(TrainRecipe recipe, resolve_recipe(o));
  if (has_trained_teacher(recipe)) PARE_RETURN_IF_ERROR(teacher_recipe(recipe).status());
  if (o.show_recipe) return recipe;
  if (at_teacher) o.resume = false;  // the student has not begun
  if (o.folder.empty()) o.folder = default_folder(recipe);
  if (restarted && RunFolder::check(o.folder, /*resume=*/true).ok()) o.resume = true;
  PARE_RETURN_IF_ERROR(RunFolder::check(o.folder, o.resume));
  return recipe;
}

// Rank 0 decides for all: the others may not see its folder.
Result<TrainRecipe> decide_together(Options& o, Ranks& ranks) {
  nlohmann::json decided;
  if (ranks.leads()) {
    PARE_ASSIGN_OR_RETURN(const TrainRecipe recipe, decide(o, ranks.place().restarted));
    decided = {{"recipe", recipe_toml(recipe)}, {"folder", o.folder}, {"resume", o.resume}};
  }
  PARE_ASSIGN_OR_RETURN(const std::string text, ranks.text_from_leader(decided.dump()));
  decided = nlohmann::json::parse(text);
  o.folder = decided.at("folder").get<std::string>();
  o.resume = decided.at("resume").get<bool>();
  return parse_train_recipe(decided.at("recipe").get<std::string>(), "the recipe of rank 0");
}

Status train_and_print(Options& o, TrainRecipe recipe, Ranks* ranks) {
  PARE_RETURN_IF_ERROR(choose_device(o.device).status());
  PARE_ASSIGN_OR_RETURN(const TrainResult result, train_with_teacher(o, recipe, ranks));
  if (ranks != nullptr && !ranks->leads()) return ok_status();
  if (o.json) {
    print_json(recipe, result, ranks);
  } else {
    print_result(recipe, result, ranks);
  }
  return ok_status();
}

Status train_with_ranks(Options& o, const RankPlace& place) {
  PARE_ASSIGN_OR_RETURN(const std::unique_ptr<Ranks> ranks, Ranks::join(place));
  const auto recipe = decide_together(o, *ranks);
  Status end =
      ranks->close(recipe.ok() ? train_and_print(o, *recipe, ranks.get()) : recipe.status());
  // All stopped together; rank 0 says so.
  if (end.code() == StatusCode::kCancelled && !ranks->leads()) return ok_status();
  return end;
}

Status run_training(Options o) {
  if (o.show_fields) {
    print_fields();
    return ok_status();
  }
  PARE_ASSIGN_OR_RETURN(const std::optional<RankPlace> place,
                        find_rank_place(process_environment()));
  if (place && !o.show_recipe) return train_with_ranks(o, *place);
  PARE_ASSIGN_OR_RETURN(const TrainRecipe recipe, decide(o, /*restarted=*/false));
  if (o.show_recipe) {
    fmt::print("{}", recipe_toml(recipe));
    return ok_status();
  }
  return train_and_print(o, recipe, nullptr);
}

std::function<Status()> set_up(CLI::App& app) {
  auto o = std::make_shared<Options>();
  const auto shorthand = [&app, o](const std::string& flag, const std::string& key,
                                   const std::string& help) {
    app.add_option_function<std::string>(
        flag,
        [o, flag, key](const std::string& value) {
          o->shorthands.push_back({flag, key + "=" + value});
        },
        help + " (" + key + ")");
  };
  app.add_option("--model", o->model,
                 "One of `pare models`, or a .onnx or .pare file to fine-tune");
  shorthand("--data", "data.path",
            "CIFAR or image folder, cifar10 or cifar100; the built-in images without it");
  app.add_option("--recipe", o->recipe,
                 fmt::format("A .toml file or one of {}; the model's own without it",
                             fmt::join(builtin_recipe_names(), ", ")));
  app.add_option("--out", o->folder, "Folder of the run; runs/<model> without it");
  app.add_flag("--resume", o->resume, "Go on with the run in --out");
  shorthand("--epochs", "train.epochs", "Passes over the training images");
  shorthand("--batch-size", "train.batch_size", "Images in a batch");
  shorthand("--lr", "optimiser.lr", "Learning rate");
  shorthand("--seed", "train.seed", "Seed of everything random");
  shorthand("--train-fraction", "data.train_fraction", "Share of the training images");
  shorthand("--teacher", "distil.teacher", "Distil from a model file or one of the zoo");
  app.add_option("--set", o->settings, "Any field of the recipe: FIELD=VALUE; may be repeated")
      ->allow_extra_args(false);
  app.add_flag("--fields", o->show_fields, "List the fields of a recipe and leave");
  app.add_flag("--show-recipe", o->show_recipe, "Print the resolved recipe and leave");
  app.add_option("--threads", o->threads, "Threads; 0: all cores")->check(whole_number(0, 1024));
  app.add_option("--device", o->device,
                 "Where it runs: cpu, cuda, or auto: a GPU where there is one")
      ->check(one_of({"cpu", "cuda", "auto"}));
  app.add_flag("--strict", o->strict, "A broken image stops the run");
  app.add_flag("--json", o->json, "Print the result as JSON");
  return [o] { return run_training(*o); };
}

}  // namespace

Command make_train_command() {
  return {kTrainCommand, kTrainSummary,
          "  pare train --model alexnet\n"
          "  pare train --model vit-seed --data cifar10 --epochs 50 --out runs/vit\n"
          "  pare train --resume --out runs/vit\n"
          "  pare train --model mine.onnx --data photos/ --lr 0.005 --teacher alexnet\n"
          "  pare train --model alexnet --set augment.cutout=12 --set optimiser.kind=adamw\n"
          "  torchrun --no-python --nproc-per-node 4 pare train --model alexnet --out runs/four\n"
          "  srun --ntasks 8 pare train --model vit-seed --data cifar10 --out runs/eight\n",
          set_up};
}

}  // namespace pare
