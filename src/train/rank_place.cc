#include "train/rank_place.h"

#include <fmt/format.h>
#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <memory>
#include <span>
#include <system_error>

#include "base/file.h"

namespace pare {
namespace {

constexpr int kDefaultPort = 29500;  // torchrun's
constexpr int kMaxRanks = 1 << 20;

// The names that a launcher gives things.
struct Launcher {
  const char* name;
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;  // null: it does not say
  const char* job;         // the same for all ranks, another for each start; null: there is none
};
constexpr Launcher kLaunchers[] = {
    {"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", nullptr},
    {"mpirun (Open MPI)", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
     "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMIX_NAMESPACE"},
    {"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr, "SLURM_JOB_ID"},
    {"mpirun (PMI)", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS", nullptr},
};

// Reads numbers from the environment; the first that is none becomes the error.
class Numbers {
 public:
  explicit Numbers(const Environment& environment) : environment_(environment) {}

  std::optional<int> read(const char* name, int low, int high) {
    if (name == nullptr) return std::nullopt;
    const std::optional<std::string> text = environment_(name);
    if (!text) return std::nullopt;
    int value = 0;
    const char* end = text->data() + text->size();
    const auto [stopped, error] = std::from_chars(text->data(), end, value);
    if (error == std::errc() && stopped == end && value >= low && value <= high) return value;
    if (status_.ok()) {
      status_ = invalid_argument(
          fmt::format("environment: {} must be a whole number from {} to {}, found "
                      "'{}'",
                      name, low, high, *text));
    }
    return std::nullopt;
  }
  const Status& status() const { return status_; }

 private:
  const Environment& environment_;
  Status status_;
};

// Ports that neither the system nor its outgoing connections use by default.
int port_of_job(const std::string& job) {
  constexpr unsigned kFirst = 20000;
  constexpr unsigned kCount = 10000;
  const std::string hash = hash_bytes(std::as_bytes(std::span(job)));
  return static_cast<int>(kFirst + std::strtoul(hash.substr(0, 8).c_str(), nullptr, 16) % kCount);
}

Status find_address(const Environment& environment, const Launcher& launcher, Numbers& numbers,
                    RankPlace& place) {
  const std::optional<int> port = numbers.read("MASTER_PORT", 1, 65535);
  const std::optional<std::string> job =
      launcher.job == nullptr ? std::nullopt : environment(launcher.job);
  place.port = port ? *port : job ? port_of_job(*job) : kDefaultPort;
  if (const auto given = environment("MASTER_ADDR"); given && !given->empty()) {
    place.address = *given;
    return ok_status();
  }
  auto nodes = environment("SLURM_STEP_NODELIST");
  if (!nodes) nodes = environment("SLURM_JOB_NODELIST");
  if (nodes && !first_host(*nodes).empty()) {
    place.address = first_host(*nodes);
    return ok_status();
  }
  const std::optional<int> here = numbers.read(launcher.local_size, 1, kMaxRanks);
  if (here && *here == place.size) {
    place.address = "127.0.0.1";
    return ok_status();
  }
  return invalid_argument(fmt::format(
      "{} started {} ranks and does not say where rank 0 is: set MASTER_ADDR to its host for all "
      "of them",
      launcher.name, place.size));
}

}  // namespace

Environment process_environment() {
  return [](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    return value == nullptr ? std::nullopt : std::optional<std::string>(value);
  };
}

std::string first_host(const std::string& slurm_node_list) {
  const size_t end = slurm_node_list.find_first_of(",[");
  if (end == std::string::npos || slurm_node_list[end] == ',') {
    return slurm_node_list.substr(0, end);
  }
  // "node[01-03,07]suffix": the first number of the brackets, in their place.
  const size_t close = slurm_node_list.find(']', end);
  if (close == std::string::npos) return slurm_node_list.substr(0, end);
  const std::string numbers = slurm_node_list.substr(end + 1, close - end - 1);
  const std::string rest = slurm_node_list.substr(close + 1);
  return slurm_node_list.substr(0, end) + numbers.substr(0, numbers.find_first_of("-,")) +
         rest.substr(0, rest.find_first_of(",["));
}

// The system chooses it: a datagram socket that is connected has sent nothing, but has its route.
Result<std::string> address_towards(const std::string& host, int port) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
      error != 0) {
    return io_error(fmt::format("host '{}': {}", host, gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&freeaddrinfo)> list(found, freeaddrinfo);
  for (const addrinfo* way = list.get(); way != nullptr; way = way->ai_next) {
    const int fd = socket(way->ai_family, way->ai_socktype | SOCK_CLOEXEC, way->ai_protocol);
    if (fd < 0) continue;
    sockaddr_storage own{};
    socklen_t size = sizeof(own);
    auto* address = reinterpret_cast<sockaddr*>(&own);
    std::array<char, NI_MAXHOST> text{};
    const bool known =
        connect(fd, way->ai_addr, way->ai_addrlen) == 0 && getsockname(fd, address, &size) == 0 &&
        getnameinfo(address, size, text.data(), text.size(), nullptr, 0, NI_NUMERICHOST) == 0;
    close(fd);
    if (known) return std::string(text.data());
  }
  return io_error(fmt::format("host '{}': there is no way to it: {}", host,
                              std::error_code(errno, std::generic_category()).message()));
}

Result<std::optional<RankPlace>> find_rank_place(const Environment& environment) {
  for (const Launcher& launcher : kLaunchers) {
    Numbers numbers(environment);
    const std::optional<int> size = numbers.read(launcher.size, 1, kMaxRanks);
    PARE_RETURN_IF_ERROR(numbers.status());
    if (!size) continue;
    const std::optional<int> rank = numbers.read(launcher.rank, 0, *size - 1);
    PARE_RETURN_IF_ERROR(numbers.status());
    if (!rank) continue;
    if (*size == 1) return std::optional<RankPlace>();
    RankPlace place;
    place.rank = *rank;
    place.size = *size;
    place.launcher = launcher.name;
    place.local_rank = numbers.read(launcher.local_rank, 0, *size - 1).value_or(0);
    place.launcher_store = environment("TORCHELASTIC_USE_AGENT_STORE") == "True";
    for (const char* count : {"TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"}) {
      if (numbers.read(count, 0, kMaxRanks).value_or(0) > 0) place.restarted = true;
    }
    PARE_RETURN_IF_ERROR(find_address(environment, launcher, numbers, place));
    PARE_RETURN_IF_ERROR(numbers.status());
    return std::optional<RankPlace>(std::move(place));
  }
  return std::optional<RankPlace>();
}

}  // namespace pare
