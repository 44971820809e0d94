#include "report/facts.h"

#include <algorithm>
#include <set>
#include <tuple>
#include <utility>

namespace pare {
namespace {

constexpr const char* kOwnEngine = "pare";

class Gatherer {
 public:
  Status add(const Record& record) {
    note_context(record.context);
    if (record.kind == AccuracyRecord::kKind) return add_accuracy(record);
    if (record.kind == PredictionsRecord::kKind) return add_predictions(record);
    if (record.kind == LatencyRecord::kKind) return add_latency(record);
    if (record.kind == SizeRecord::kKind) return add_size(record);
    if (record.kind == LayerRecord::kKind) return add_layer(record);
    if (record.kind == CeilingsRecord::kKind) return add_ceilings(record);
    if (record.kind == EpochRecord::kKind) return add_epoch(record);
    if (record.kind == StepRecord::kKind) return add_step(record);
    if (record.kind == ImageRecord::kKind) return add_image(record);
    return check_record(record);
  }
  Facts take() { return std::move(facts_); }

 private:
  // Rooms other than the study may not know what a net was trained on; then the group that knows
  // takes their figures.
  Group& group(const ModelIdentity& id) {
    const std::string& net = id.net.empty() ? id.model : id.net;
    for (Group& g : facts_.groups) {
      if (g.net != net) continue;
      if (g.trained_on == id.trained_on || id.trained_on.empty()) return g;
      if (g.trained_on.empty()) {
        g.trained_on = id.trained_on;
        return g;
      }
    }
    facts_.groups.push_back({.net = net, .trained_on = id.trained_on, .models = {}});
    return facts_.groups.back();
  }
  ModelFacts& model(const ModelIdentity& id) {
    Group& g = group(id);
    for (ModelFacts& m : g.models) {
      const bool same_variant = !id.variant.empty() && m.id.variant == id.variant;
      const bool same_name = (id.variant.empty() || m.id.variant.empty()) && m.id.model == id.model;
      if (same_variant || same_name) return m;
    }
    g.models.push_back({});
    g.models.back().id = id;
    return g.models.back();
  }

  Status add_accuracy(const Record& record) {
    PARE_ASSIGN_OR_RETURN(AccuracyRecord r, from_record<AccuracyRecord>(record));
    if (std::find(facts_.data.begin(), facts_.data.end(), r.data) == facts_.data.end()) {
      facts_.data.push_back(r.data);
    }
    auto& all = model(r.id).accuracies;
    const auto same = std::find_if(all.begin(), all.end(), [&](const AccuracyRecord& a) {
      return a.engine == r.engine && a.precision == r.precision;
    });
    if (same != all.end()) {
      *same = std::move(r);
    } else if (r.engine == kOwnEngine) {
      all.insert(all.begin(), std::move(r));
    } else {
      all.push_back(std::move(r));
    }
    return ok_status();
  }
  Status add_predictions(const Record& record) {
    PARE_ASSIGN_OR_RETURN(PredictionsRecord r, from_record<PredictionsRecord>(record));
    auto& own = model(r.id).predictions;
    if (r.engine == kOwnEngine || !own) own = std::move(r);
    return ok_status();
  }
  Status add_latency(const Record& record) {
    PARE_ASSIGN_OR_RETURN(LatencyRecord r, from_record<LatencyRecord>(record));
    auto& all = model(r.id).latencies;
    const auto key = [](const LatencyRecord& l) {
      return std::tie(l.engine, l.precision, l.cpu_level, l.device, l.batch, l.threads);
    };
    const auto same = std::find_if(all.begin(), all.end(),
                                   [&](const LatencyRecord& l) { return key(l) == key(r); });
    if (same != all.end()) {
      *same = std::move(r);
    } else {
      all.push_back(std::move(r));
    }
    return ok_status();
  }
  Status add_size(const Record& record) {
    PARE_ASSIGN_OR_RETURN(SizeRecord r, from_record<SizeRecord>(record));
    ModelFacts& m = model(r.id);
    (r.format == "pare" ? m.pare_file : m.onnx_file) = std::move(r);
    return ok_status();
  }
  Status add_layer(const Record& record) {
    PARE_ASSIGN_OR_RETURN(LayerRecord r, from_record<LayerRecord>(record));
    auto& all = model(r.id).layers;
    const auto same = std::find_if(all.begin(), all.end(), [&](const LayerRecord& l) {
      // A copy that a layer needs bears the layer's name, too.
      return l.name == r.name && l.operation == r.operation && l.batch == r.batch &&
             l.threads == r.threads;
    });
    if (same != all.end()) {
      *same = std::move(r);
    } else {
      all.push_back(std::move(r));
    }
    return ok_status();
  }
  Status add_ceilings(const Record& record) {
    PARE_ASSIGN_OR_RETURN(CeilingsRecord r, from_record<CeilingsRecord>(record));
    std::erase_if(facts_.ceilings, [&r](const CeilingsRecord& c) {
      return c.threads == r.threads && c.cpu_level == r.cpu_level;
    });
    facts_.ceilings.push_back(std::move(r));
    return ok_status();
  }
  Status add_epoch(const Record& record) {
    PARE_ASSIGN_OR_RETURN(EpochRecord r, from_record<EpochRecord>(record));
    auto run = std::find_if(facts_.runs.begin(), facts_.runs.end(),
                            [&](const TrainingRun& t) { return t.name == r.run; });
    if (run == facts_.runs.end()) {
      facts_.runs.push_back(
          {.name = r.run, .net = r.net, .data = r.data, .recipe = r.recipe, .epochs = {}});
      run = facts_.runs.end() - 1;
    }
    auto at = std::lower_bound(run->epochs.begin(), run->epochs.end(), r.epoch,
                               [](const EpochRecord& e, int64_t epoch) { return e.epoch < epoch; });
    if (at != run->epochs.end() && at->epoch == r.epoch) {
      *at = std::move(r);
    } else {
      run->epochs.insert(at, std::move(r));
    }
    return ok_status();
  }
  Status add_step(const Record& record) {
    PARE_ASSIGN_OR_RETURN(StepRecord r, from_record<StepRecord>(record));
    const auto same =
        std::find_if(facts_.steps.begin(), facts_.steps.end(),
                     [&](const StepRecord& s) { return s.study == r.study && s.step == r.step; });
    if (same != facts_.steps.end()) {
      *same = std::move(r);
    } else {
      facts_.steps.push_back(std::move(r));
    }
    return ok_status();
  }
  Status add_image(const Record& record) {
    PARE_ASSIGN_OR_RETURN(ImageRecord r, from_record<ImageRecord>(record));
    const auto same = std::find_if(
        facts_.images.begin(), facts_.images.end(),
        [&](const ImageRecord& i) { return i.data_hash == r.data_hash && i.index == r.index; });
    if (same == facts_.images.end()) facts_.images.push_back(std::move(r));
    return ok_status();
  }
  void note_context(Json context) {
    if (!context.is_object()) return;
    const auto date = context.find("date");
    if (date != context.end() && date->is_string()) {
      const auto text = date->get<std::string>();
      if (facts_.first_date.empty() || text < facts_.first_date) facts_.first_date = text;
      if (text > facts_.last_date) facts_.last_date = text;
    }
    context.erase("date");
    auto& all = facts_.contexts;
    if (std::find(all.begin(), all.end(), context) == all.end()) all.push_back(std::move(context));
  }

  Facts facts_;
};

void compare_predictions(const PredictionsRecord& first, const PredictionsRecord& second,
                         Comparison& out) {
  if (first.data_hash != second.data_hash || first.labels != second.labels ||
      first.classes != second.classes) {
    return;
  }
  int64_t both = 0, only_first = 0, only_second = 0, neither = 0, flips = 0;
  std::vector<int64_t> images(first.classes.size()), change(first.classes.size());
  for (size_t i = 0; i < first.labels.size(); ++i) {
    const int64_t label = first.labels[i];
    const bool a = first.predicted[i] == label;
    const bool b = second.predicted[i] == label;
    (a ? (b ? both : only_first) : (b ? only_second : neither)) += 1;
    flips += first.predicted[i] != second.predicted[i] ? 1 : 0;
    images[static_cast<size_t>(label)] += 1;
    change[static_cast<size_t>(label)] += (b ? 1 : 0) - (a ? 1 : 0);
  }
  const auto total = static_cast<double>(first.labels.size());
  out.top1_change = 100.0 * static_cast<double>(only_second - only_first) / total;
  const Interval interval = paired_difference_interval(both, only_first, only_second, neither);
  out.top1_change_interval = Interval{100 * interval.low, 100 * interval.high};
  out.mcnemar_p = mcnemar_exact(only_first, only_second);
  out.flips = 100.0 * static_cast<double>(flips) / total;
  for (size_t c = 0; c < images.size(); ++c) {
    out.class_changes.push_back(images[c] == 0 ? 0.0
                                               : 100.0 * static_cast<double>(change[c]) /
                                                     static_cast<double>(images[c]));
  }
}

Comparison compare(const ModelFacts& base, const ModelFacts& model) {
  Comparison out;
  if (base.accuracy() != nullptr && model.accuracy() != nullptr) {
    out.top1_change = model.accuracy()->top1 - base.accuracy()->top1;
  }
  if (base.predictions && model.predictions)
    compare_predictions(*base.predictions, *model.predictions, out);
  const SizeRecord* from = base.onnx_file ? &*base.onnx_file : base.file();
  if (from != nullptr && model.file() != nullptr) {
    out.smaller =
        static_cast<double>(from->file_bytes) / static_cast<double>(model.file()->file_bytes);
  }
  return out;
}

}  // namespace

namespace {

// The same layer timed in the same setting: by its name and the operation it begins with.
const LayerRecord* same_layer(const ModelFacts& model, const LayerRecord& layer) {
  const auto first_word = [](const std::string& text) { return text.substr(0, text.find(' ')); };
  for (const LayerRecord& l : model.layers) {
    if (l.name == layer.name && l.batch == layer.batch && l.threads == layer.threads &&
        first_word(l.operation) == first_word(layer.operation)) {
      return &l;
    }
  }
  return nullptr;
}

// Gains of layers that no record states.
void compare_layers(const ModelFacts& base, ModelFacts& model) {
  for (LayerRecord& layer : model.layers) {
    const LayerRecord* before = same_layer(base, layer);
    if (before == nullptr || layer.measured_gain || !layer.batch) continue;
    if (before->latency_us && layer.latency_us.value_or(0) > 0) {
      layer.measured_gain = *before->latency_us / *layer.latency_us;
    }
    if (before->limit_us && layer.limit_us.value_or(0) > 0) {
      layer.predicted_gain = *before->limit_us / *layer.limit_us;
    }
  }
}

}  // namespace

const LatencyRecord* ModelFacts::latency(int64_t batch, int64_t threads) const {
  for (const LatencyRecord& l : latencies) {
    if (l.engine == kOwnEngine && l.cpu_level.empty() && l.device.empty() && l.batch == batch &&
        l.threads == threads) {
      return &l;
    }
  }
  return nullptr;
}

std::vector<const LatencyRecord*> ModelFacts::device_latencies(int64_t batch) const {
  std::vector<const LatencyRecord*> found;
  for (const LatencyRecord& l : latencies) {
    if (l.engine == kOwnEngine && !l.device.empty() && l.batch == batch) found.push_back(&l);
  }
  return found;
}

const AccuracyRecord* ModelFacts::accuracy_in(const std::string& precision) const {
  for (const AccuracyRecord& a : accuracies) {
    if (a.engine == kOwnEngine && a.precision == precision) return &a;
  }
  return accuracy();
}

const SizeRecord* ModelFacts::file() const {
  if (pare_file) return &*pare_file;
  return onnx_file ? &*onnx_file : nullptr;
}

std::string Group::title() const {
  return trained_on.empty() ? net : net + ", trained on " + trained_on;
}

std::vector<int64_t> Group::batches() const {
  std::set<int64_t> found;
  for (const ModelFacts& m : models) {
    for (const LatencyRecord& l : m.latencies) {
      if (l.engine == kOwnEngine) found.insert(l.batch);
    }
  }
  return {found.begin(), found.end()};
}

std::vector<int64_t> Group::threads() const {
  std::set<int64_t> found;
  for (const ModelFacts& m : models) {
    for (const LatencyRecord& l : m.latencies) {
      if (l.engine == kOwnEngine && l.device.empty()) found.insert(l.threads);
    }
  }
  return {found.begin(), found.end()};
}

std::optional<double> Group::speedup(const ModelFacts& model, int64_t batch,
                                     int64_t threads) const {
  const LatencyRecord* ours = model.latency(batch, threads);
  const LatencyRecord* theirs = base().latency(batch, threads);
  if (ours == nullptr || theirs == nullptr) return std::nullopt;
  return theirs->latency_us_p50 / ours->latency_us_p50;
}

const CeilingsRecord* ceilings_of(const Facts& facts, const LayerRecord& layer) {
  for (const CeilingsRecord& c : facts.ceilings) {
    if (c.threads == layer.threads) return &c;
  }
  return nullptr;
}

std::string TrainingRun::title() const { return net + ", on " + data; }

Result<Facts> gather_facts(const std::vector<Record>& records) {
  Gatherer gatherer;
  for (const Record& record : records) PARE_RETURN_IF_ERROR(gatherer.add(record));
  Facts facts = gatherer.take();
  for (Group& group : facts.groups) {
    for (size_t i = 0; i < group.models.size(); ++i) {
      if (group.models[i].id.variant == "fp32") group.baseline = i;
    }
    for (ModelFacts& model : group.models) {
      model.against_baseline = compare(group.base(), model);
      if (&model != &group.base()) compare_layers(group.base(), model);
    }
  }
  return facts;
}

std::vector<size_t> pareto_front(const std::vector<TradeoffPoint>& points) {
  std::vector<size_t> front;
  for (size_t i = 0; i < points.size(); ++i) {
    const bool beaten = std::any_of(points.begin(), points.end(), [&](const TradeoffPoint& p) {
      return p.x <= points[i].x && p.y >= points[i].y && (p.x < points[i].x || p.y > points[i].y);
    });
    if (!beaten) front.push_back(i);
  }
  std::sort(front.begin(), front.end(),
            [&](size_t a, size_t b) { return points[a].x < points[b].x; });
  return front;
}

}  // namespace pare
