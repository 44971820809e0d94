#include "train/ranks.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/build_info.h"
#include "base/host.h"
#include "base/thread_pool.h"
#include "train/cuda/gpu_tools.h"
#include "train/tensors.h"

namespace pare {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using Gloo = c10d::ProcessGroupGloo;

// All ranks have met before they connect.
constexpr milliseconds kConnect{60000};
// Nothing waits so long: the pulse tells first.
constexpr milliseconds kCollective{24 * 3600 * 1000};

// Which cores this program may use, as text to be compared.
std::string core_list() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::string text;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return text;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) text += fmt::format("{} ", i);
  }
  return text;
}

std::vector<uint8_t> to_bytes(const std::string& text) { return {text.begin(), text.end()}; }
std::string to_text(const std::vector<uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

std::string hello_key(int rank) { return fmt::format("pare/hello/{}", rank); }
std::string roster_key(int rank) { return fmt::format("rank/{}", rank); }

// The numbers in the order in which they lie: Gloo takes nothing else.
at::Tensor flat(const at::Tensor& tensor) {
  const at::Tensor t = tensor.detach();
  if (!t.is_non_overlapping_and_dense()) throw std::runtime_error("a tensor with gaps");
  return t.as_strided({t.numel()}, {1});
}

c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>& store,
                                            const RankPlace& place, const std::string& address,
                                            const std::string& name) {
  // LibTorch's record of the last collectives, for a post-mortem that nobody reads here: with
  // several groups in a process LibTorch 2.11 was seen to spin in it without an end.
  static const int unrecorded = setenv("TORCH_FR_BUFFER_SIZE", "0", /*replace=*/0);
  if (unrecorded != 0) throw std::runtime_error("the environment is full");
  auto options = Gloo::Options::create(kConnect);
  // As everywhere with Gloo, the user may name the interface.
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices = {interface != nullptr ? Gloo::createDeviceForInterface(interface)
                                           : Gloo::createDeviceForHostname(address)};
  return c10::make_intrusive<Gloo>(c10::make_intrusive<c10d::PrefixStore>(name, store), place.rank,
                                   place.size, options);
}

}  // namespace

struct Ranks::Groups {
  c10::intrusive_ptr<c10d::TCPStore> connection;
  c10::intrusive_ptr<c10d::Store> store;
  c10::intrusive_ptr<c10d::Backend> small;      // whatever is waited for
  c10::intrusive_ptr<c10d::Backend> gradients;  // what goes on in the background
  c10::intrusive_ptr<c10d::Backend> gpu;        // null without
  std::shared_ptr<RankSum> vote;
  at::Tensor wishes;
};

struct RankSum {
  at::Tensor tensor;  // kept alive
  c10::intrusive_ptr<c10d::Work> work;
  std::string failed;  // to begin
  double begin = 0;
  std::shared_ptr<std::atomic<double>> end;  // 0: not yet; null: nobody knows
};

double steady_now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

RankSumTimes times_of(const RankSum& sum) {
  RankSumTimes times{.begin = sum.begin, .end = {}};
  if (sum.end != nullptr && *sum.end > 0) times.end = *sum.end;
  return times;
}

Ranks::Ranks(RankPlace place, const RanksOptions& options)
    : place_(std::move(place)),
      options_(options),
      name_(fmt::format("rank {} of {} on {}", place_.rank, place_.size, host_name())),
      groups_(std::make_unique<Groups>()) {}

Result<std::unique_ptr<Ranks>> Ranks::join(const RankPlace& place, const RanksOptions& options) {
  std::unique_ptr<Ranks> ranks(new Ranks(place, options));
  Status joined;
  try {
    joined = ranks->meet_at_store();
    if (joined.ok()) joined = ranks->connect();
  } catch (const std::exception& error) {
    joined =
        io_error(fmt::format("the ranks that {} started cannot meet at {}:{}: {}", place.launcher,
                             place.address, place.port, torch_error_line(error)));
    if (ranks->pulse_ != nullptr) joined = ranks->broken(joined.message());
  }
  if (!joined.ok()) return ranks->close(joined);
  return ranks;
}

// Everybody writes down who it is, and reads who the others are.
Status Ranks::meet_at_store() {
  c10d::TCPStoreOptions store;
  store.port = static_cast<uint16_t>(place_.port);
  store.isServer = leads() && !place_.launcher_store;
  store.waitWorkers = false;
  store.timeout = options_.join;
  groups_->connection = c10::make_intrusive<c10d::TCPStore>(place_.address, store);
  session_ = leads() ? "pare/" + unique_word() : ask_for_session();
  groups_->store = c10::make_intrusive<c10d::PrefixStore>(session_, groups_->connection);
  if (leads()) RankPulse::prepare(*groups_->store);
  const std::string me =
      json{{"host", host_name()}, {"cores", core_list()}, {"program", build_commit()}}.dump();
  groups_->store->set(roster_key(rank()), to_bytes(me));
  std::vector<std::string> keys;
  for (int r = 0; r < size(); ++r) keys.push_back(roster_key(r));
  if (leads()) {
    PARE_RETURN_IF_ERROR(welcome(keys));
  } else {
    groups_->store->wait(keys, options_.join);
  }
  return read_roster(keys);
}

// torchrun's store outlives the ranks that it restarts, and with it what the dead ones wrote. So
// each start of rank 0 is a session of its own, whose name it tells to everyone who asks by a word
// that was never used before.
std::string Ranks::ask_for_session() {
  const std::string word = "pare/" + unique_word();
  groups_->connection->set(hello_key(rank()), to_bytes(word));
  groups_->connection->wait({word}, options_.join);
  return to_text(groups_->connection->get(word));
}

// Tells the session to all who ask, until everybody's `keys` are in it.
Status Ranks::welcome(const std::vector<std::string>& keys) {
  const auto end = std::chrono::steady_clock::now() + options_.join;
  std::vector<std::string> told(keys.size());
  while (!groups_->store->check(keys)) {
    std::vector<int> missing;
    for (int r = 1; r < size(); ++r) {
      if (!groups_->store->check({roster_key(r)})) missing.push_back(r);
    }
    for (const int r : missing) {
      if (!groups_->connection->check({hello_key(r)})) continue;
      const std::string word = to_text(groups_->connection->get(hello_key(r)));
      if (std::exchange(told[static_cast<size_t>(r)], word) == word) continue;
      groups_->connection->set(word, to_bytes(session_));
    }
    if (std::chrono::steady_clock::now() > end) {
      return io_error(fmt::format("of the {} ranks that {} started, {} did not come within {} s",
                                  size(), place_.launcher, fmt::join(missing, ", "),
                                  options_.join.count() / 1000));
    }
    constexpr milliseconds kLook{10};
    std::this_thread::sleep_for(kLook);
  }
  return ok_status();
}

Status Ranks::read_roster(const std::vector<std::string>& keys) {
  const json mine = {{"host", host_name()}, {"cores", core_list()}};
  sharing_cores_ = 0;
  for (const auto& bytes : groups_->store->multiGet(keys)) {
    const json other = json::parse(bytes.begin(), bytes.end());
    const auto host = other.at("host").get<std::string>();
    names_.push_back(fmt::format("rank {} of {} on {}", names_.size(), size(), host));
    if (host == mine["host"] && other.at("cores") == mine["cores"]) ++sharing_cores_;
    const auto program = other.at("program").get<std::string>();
    if (program != build_commit()) {
      return invalid_argument(fmt::format("{} runs another build of pare: {}, here {}",
                                          names_.back(), program, build_commit()));
    }
  }
  return ok_status();
}

Status Ranks::connect() {
  const std::string keeper =
      place_.launcher_store ? place_.launcher + " on " + place_.address : names_.front();
  pulse_ = std::make_unique<RankPulse>(
      c10::make_intrusive<c10d::PrefixStore>(session_, groups_->connection->clone()), rank(),
      names_, keeper, options_.pulse);
  // The address by which the others reach rank 0 leads to the network that they share.
  PARE_ASSIGN_OR_RETURN(const std::string address, address_towards(place_.address, place_.port));
  groups_->small = make_gloo(groups_->store, place_, address, "small");
  groups_->gradients = make_gloo(groups_->store, place_, address, "gradients");
  return ok_status();
}

Status Ranks::use_gpu(GpuTools& tools) {
  try {
    groups_->gpu = tools.make_nccl(c10::make_intrusive<c10d::PrefixStore>("nccl", groups_->store),
                                   rank(), size());
  } catch (const std::exception& error) {
    return unsupported("NCCL: " + torch_error_line(error));
  }
  if (groups_->gpu == nullptr) {
    return unsupported("several GPUs: our CUDA part was built without NCCL");
  }
  // A GPU that waits for a rank that is gone waits for ever, and this thread with it.
  pulse_->on_failure([group = groups_->gpu] { group->abort(); });
  return ok_status();
}

Ranks::~Ranks() {
  if (!closed_) say_good_bye(/*failed=*/true);
  // Their destructors wait for the other ranks: after a failure for ever.
  if (broken_) {
    for (auto* group : {&groups_->small, &groups_->gradients, &groups_->gpu}) {
      [[maybe_unused]] const c10d::Backend* left_behind = group->release();
    }
  }
}

Status Ranks::broken(const std::string& what) {
  broken_ = true;
  return io_error(what);
}

Status Ranks::wait(RankSum& sum) {
  if (!sum.failed.empty()) return broken(sum.failed);
  if (const auto failure = pulse_->failure()) return broken(*failure);
  constexpr milliseconds kLook{250};
  try {
    if (sum.tensor.is_cuda()) {
      sum.work->wait();  // the stream does, not this thread
      return ok_status();
    }
    while (!sum.work->isCompleted()) {
      if (const auto failure = pulse_->failure()) return broken(*failure);
      try {
        sum.work->wait(kLook);
      } catch (const std::exception&) {
        // Not done yet, or failed, which the work itself says below. What was thrown cannot tell
        // them apart: the work may have been completed since the time ran out.
      }
    }
    if (sum.work->exception() != nullptr) std::rethrow_exception(sum.work->exception());
  } catch (const std::exception& error) {
    return broken("the connection to other ranks broke: " + torch_error_line(error));
  }
  return ok_status();
}

namespace {

// Begins a collective operation; what it throws waits in the sum for who waits for it.
template <typename F>
std::shared_ptr<RankSum> begin_work(const at::Tensor& tensor, F&& start) {
  auto sum = std::make_shared<RankSum>();
  sum->begin = steady_now_s();
  sum->tensor = tensor;
  try {
    std::vector<at::Tensor> tensors = {flat(tensor)};
    sum->work = start(tensors);
  } catch (const std::exception& error) {
    sum->failed = "the connection to other ranks broke: " + torch_error_line(error);
  }
  return sum;
}

std::shared_ptr<RankSum> begin_reduce(c10d::Backend& group, const at::Tensor& tensor,
                                      c10d::ReduceOp::RedOpType how) {
  return begin_work(tensor, [&](std::vector<at::Tensor>& tensors) {
    c10d::AllreduceOptions options;
    options.reduceOp = how;
    options.timeout = kCollective;
    return group.allreduce(tensors, options);
  });
}

}  // namespace

Status Ranks::sum(const at::Tensor& tensor) {
  c10d::Backend& group = tensor.is_cuda() ? *groups_->gpu : *groups_->small;
  return wait(*begin_reduce(group, tensor, c10d::ReduceOp::SUM));
}

Status Ranks::copy_from_leader(const at::Tensor& tensor) {
  c10d::Backend& group = tensor.is_cuda() ? *groups_->gpu : *groups_->small;
  return wait(*begin_work(tensor, [&](std::vector<at::Tensor>& tensors) {
    c10d::BroadcastOptions options;
    options.timeout = kCollective;
    return group.broadcast(tensors, options);
  }));
}

Result<std::string> Ranks::text_from_leader(const std::string& text) {
  PARE_ASSIGN_OR_RETURN(const int64_t bytes,
                        largest(leads() ? static_cast<int64_t>(text.size()) : 0));
  std::string shared = text;
  shared.resize(static_cast<size_t>(bytes));
  if (bytes == 0) return shared;
  const at::Tensor view = at::from_blob(shared.data(), {bytes}, at::TensorOptions(at::kByte));
  PARE_RETURN_IF_ERROR(copy_from_leader(view));
  return shared;
}

Result<int64_t> Ranks::largest(int64_t value) {
  const at::Tensor number = at::full({1}, value, at::TensorOptions(at::kLong));
  PARE_RETURN_IF_ERROR(wait(*begin_reduce(*groups_->small, number, c10d::ReduceOp::MAX)));
  return number.item().toLong();
}

Status Ranks::meet() { return largest(0).status(); }

Status Ranks::agree(const std::string& what, const std::string& mine) {
  PARE_ASSIGN_OR_RETURN(const std::string leaders, text_from_leader(mine));
  if (leaders != mine) {
    return invalid_argument(fmt::format("it has another {} than {}", what, names_.front()));
  }
  return ok_status();
}

std::shared_ptr<RankSum> Ranks::start_sum(const at::Tensor& tensor) {
  if (tensor.is_cuda()) return begin_reduce(*groups_->gpu, tensor, c10d::ReduceOp::SUM);
  auto sum = begin_reduce(*groups_->gradients, tensor, c10d::ReduceOp::SUM);
  if (sum->work == nullptr) return sum;
  sum->end = std::make_shared<std::atomic<double>>(0.0);
  sum->work->getFuture()->addCallback(
      [end = sum->end](c10::ivalue::Future&) { *end = steady_now_s(); });
  return sum;
}

Status Ranks::finish(RankSum& sum) { return wait(sum); }

void Ranks::begin_vote(int64_t wishes) {
  // Gloo has no bitwise or: each bit is a byte, of which the largest counts.
  constexpr int64_t kWishes = 8;
  groups_->wishes = at::zeros({kWishes}, at::TensorOptions(at::kByte));
  auto* places = groups_->wishes.mutable_data_ptr<uint8_t>();
  for (int64_t i = 0; i < kWishes; ++i) places[i] = static_cast<uint8_t>(wishes >> i & 1);
  groups_->vote = begin_reduce(*groups_->small, groups_->wishes, c10d::ReduceOp::MAX);
}

Result<int64_t> Ranks::end_vote() {
  PARE_RETURN_IF_ERROR(wait(*groups_->vote));
  const auto* places = groups_->wishes.const_data_ptr<uint8_t>();
  int64_t wishes = 0;
  for (int64_t i = 0; i < groups_->wishes.numel(); ++i) wishes |= int64_t{places[i]} << i;
  return wishes;
}

Status Ranks::close(const Status& outcome) {
  Status end = outcome;
  if ((end.ok() || end.code() == StatusCode::kCancelled) && !broken_) {
    if (const Status met = meet(); !met.ok()) end = met;
  }
  if (broken_) {
    const std::optional<std::string> failure =
        pulse_ == nullptr ? std::nullopt : pulse_->find_failure();
    end = io_error(fmt::format("{}: stopped, for {}", name_, failure ? *failure : end.message()));
  } else if (!end.ok() && end.code() != StatusCode::kCancelled) {
    end = end.with_context(name_);
    if (pulse_ != nullptr) pulse_->report(end.message());
    broken_ = true;
  }
  say_good_bye(broken_);
  return end;
}

// Rank 0's store must outlive what the others have to read from it.
void Ranks::say_good_bye(bool failed) {
  closed_ = true;
  if (pulse_ == nullptr) return;
  pulse_->leave();
  constexpr const char* kLeft = "left";
  try {
    const bool keeps = leads() && !place_.launcher_store;
    if (!keeps) {
      groups_->store->add(kLeft, 1);
      return;
    }
    const auto patience = failed ? 4 * options_.pulse.beat : options_.pulse.silence;
    const auto end = std::chrono::steady_clock::now() + patience;
    while (groups_->store->add(kLeft, 0) < size() - 1 && std::chrono::steady_clock::now() < end) {
      constexpr milliseconds kLook{20};
      std::this_thread::sleep_for(kLook);
    }
  } catch (const std::exception&) {
    // The store is gone: so is who would have read it.
    return;
  }
}

int cores_of(const Ranks* ranks) {
  return std::max(1, available_cores() / (ranks == nullptr ? 1 : ranks->sharing_cores()));
}

BatchShare share_of(const Ranks* ranks) { return ranks == nullptr ? BatchShare() : ranks->share(); }

Result<bool> wish_of_any(Ranks* ranks, bool wish) {
  if (ranks == nullptr) return wish;
  PARE_ASSIGN_OR_RETURN(const int64_t any, ranks->largest(wish ? 1 : 0));
  return any != 0;
}

}  // namespace pare
