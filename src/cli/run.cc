// pare run: what a model takes pictures for.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>
#include <vector>

#include "cli/command.h"
#include "cli/json_output.h"
#include "cli/measured_model.h"
#include "cli/table.h"
#include "cli/usage.h"
#include "data/image.h"

namespace pare {
namespace {

struct RunArguments {
  std::string model;
  std::vector<std::string> images;
  SessionOptions session;
  int64_t top = 5;
  bool json = false;
};

struct Guess {
  int64_t index = 0;
  std::string name;  // empty if the model names no classes
  float score = 0;
  double probability = 0;
};

struct Answer {
  std::string image;
  std::vector<Guess> guesses;  // the likeliest first
};

// The scores as shares of one: the model's own, or softmax of its logits.
std::vector<double> probabilities(const std::vector<float>& scores, bool are_probabilities) {
  std::vector<double> shares(scores.begin(), scores.end());
  if (are_probabilities) return shares;
  const double largest = *std::ranges::max_element(shares);
  for (double& s : shares) s = std::exp(s - largest);
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& s : shares) s /= sum;
  return shares;
}

std::vector<Guess> likeliest(const std::vector<float>& scores, const InputContract& contract,
                             int64_t top) {
  const std::vector<double> shares = probabilities(scores, contract.outputs_probabilities);
  std::vector<size_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(order.size(), static_cast<size_t>(top)));
  std::vector<Guess> guesses;
  for (const size_t c : order) {
    const std::string name = c < contract.classes.size() ? contract.classes[c] : "";
    guesses.push_back({static_cast<int64_t>(c), name, scores[c], shares[c]});
  }
  return guesses;
}

Result<Answer> answer(MeasuredModel& model, const std::string& image, int64_t top) {
  const InputContract& contract = model.contract;
  const ImageFit fit = {contract.channels, contract.height, contract.width, contract.resize};
  std::vector<uint8_t> pixels(static_cast<size_t>(fit.channels * fit.height * fit.width));
  PARE_RETURN_IF_ERROR(prepare_image(image, fit, pixels));
  std::vector<float> scores(static_cast<size_t>(model.session.info().class_count));
  PARE_RETURN_IF_ERROR(model.session.run(pixels, 1, scores));
  if (std::ranges::any_of(scores, [](float s) { return std::isnan(s); })) {
    return numeric_error(fmt::format("{}: {} gives a score that is NaN", image, model.name));
  }
  return Answer{image, likeliest(scores, contract, top)};
}

void print_json(const std::vector<Answer>& answers) {
  nlohmann::ordered_json array = nlohmann::ordered_json::array();
  for (const Answer& a : answers) {
    nlohmann::ordered_json classes = nlohmann::ordered_json::array();
    for (const Guess& g : a.guesses) {
      classes.push_back({{"class", g.index},
                         {"name", g.name},
                         {"probability", g.probability},
                         {"score", g.score}});
    }
    array.push_back({{"image", a.image}, {"classes", std::move(classes)}});
  }
  print_indented(array);
}

void print_text(const std::vector<Answer>& answers) {
  for (const Answer& a : answers) {
    fmt::print("{}\n", a.image);
    for (const Guess& g : a.guesses) {
      const std::string name = g.name.empty() ? fmt::format("class {}", g.index) : g.name;
      fmt::print("  {:6.2f} %  {}\n", 100 * g.probability, name);
    }
  }
}

// Names every picture without an answer; the last line counts them, where there were several.
Status outcome(const std::vector<Status>& broken, size_t pictures) {
  if (broken.empty()) return ok_status();
  if (pictures == 1) return broken.front();
  for (const Status& why : broken) fmt::print(stderr, "{}\n", why.message());
  return corrupt(fmt::format("{} of {} pictures have no answer", broken.size(), pictures));
}

Status run(const RunArguments& o) {
  PARE_ASSIGN_OR_RETURN(MeasuredModel model, load_measured_model(o.model, o.session));
  model.graph = {};
  std::vector<Answer> answers;
  std::vector<Status> broken;
  for (const std::string& image : o.images) {
    Result<Answer> one = answer(model, image, o.top);
    if (!one.ok()) {
      broken.push_back(one.status());
      continue;
    }
    answers.push_back(*std::move(one));
  }
  if (o.json) {
    print_json(answers);
  } else {
    print_text(answers);
  }
  return outcome(broken, o.images.size());
}

}  // namespace

Command make_run_command() {
  return {.name = "run",
          .summary = "Print the likeliest classes of pictures",
          .examples =
              "  pare run alexnet.pare cat.jpg dog.png\n"
              "  pare run resnet18.onnx *.jpg --top 3 --json",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<RunArguments>();
            app.add_option("model", o->model, "Model, .onnx, .pare or of the zoo")->required();
            app.add_option("images", o->images, "Pictures, JPEG or PNG, of any size")->required();
            app.add_option("--top", o->top, "Classes shown for each")
                ->check(whole_number(1, 1 << 16))
                ->capture_default_str();
            add_threads_flag(app, o->session);
            add_session_flags(app, o->session);
            app.add_flag("--json", o->json, "Print an array with an object for each picture");
            return [o] { return run(*o); };
          }};
}

}  // namespace pare
