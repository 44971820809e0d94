// pare::Session: a classifier, ready to run on this processor, without Torch.
//
//   auto session = pare::Session::load("model.pare", {.threads = 2});
//   if (!session.ok()) { ...session.status().message()... }
//   std::vector<float> scores(10);
//   pare::Status status = session->run(pixels, 1, scores);
#ifndef PARE_SESSION_H_
#define PARE_SESSION_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pare/status.h"

namespace pare {

class Graph;

struct SessionOptions {
  int threads = 0;  // 0: as many as there are cores
  // Highest instruction set to use: "baseline", "avx2", "avx_vnni", "avx512", "avx512_vnni",
  // "avx512_bf16", "amx"; empty: the best there is. One that the processor lacks is an error.
  std::string cpu_level = {};
  // "float32": as the file says. "bfloat16" or "float16": weights and activations of float layers
  // are stored in that type, sums kept in float32. "tf32", on a GPU: float32, whose products round
  // their factors to ten bits of mantissa.
  std::string precision = "float32";
  // "cpu" or "cuda". A session on a GPU runs the same files; it needs libpare-cuda.so beside the
  // program or library, and a driver, and fails with kUnsupported where one of them is missing.
  std::string device = "cpu";
  bool reference_kernels = false;  // the slow, exact references everywhere
};

// What the model wants and gives. Images are always handed over as uint8, CHW, RGB; the session
// turns them into what the file's contract states (another layout, BGR, scaled floats).
struct ModelInfo {
  std::string name;
  int64_t channels = 0;
  int64_t height = 0;
  int64_t width = 0;
  int64_t class_count = 0;
  std::vector<std::string> classes;  // empty if the file names none
  int64_t parameters = 0;
};

// One planned layer, as `pare explain` shows it.
struct LayerPlan {
  std::string name;       // the graph's node or nodes
  std::string operation;  // "conv 5x5 + relu"
  std::string kernel;     // "conv_u8s8_6x16_avx512_vnni"
  std::string reason;     // why it, and why each faster one was refused
  int64_t macs = 0;       // for one image
  int64_t weight_bytes = 0;
  double weight_density = 1.0;
  // What it has to do for one batch, on the processor.
  std::string arithmetic;          // of its products: "float32", "bfloat16", "int8"; empty: none
  int64_t least_weight_bytes = 0;  // weight_bytes, without the zeros that its kernel leaves out
  int64_t activation_bytes = 0;    // read and written
  int64_t slices = 1;              // times it runs, each on a core of its own
  bool skips_zero_weights = false;
  // The value whose zeros its kernel leaves out, with the weights they would meet; empty: none.
  std::string skips_zeros_of;
  // Those that could run it, the references aside; of products with weights only.
  std::vector<std::string> kernels;
};

struct MemoryUse {
  // Packed, for every batch size planned so far: one copy, but for dense float layers behind a
  // ReLU, which few images read by columns and many by panels.
  int64_t weights_bytes = 0;
  int64_t arena_bytes = 0;  // activations of the plan
  int64_t scratch_bytes = 0;
};

// The device of a session, as it is now.
struct DeviceInfo {
  std::string name;          // "NVIDIA H100 80GB HBM3"; empty on the processor
  int64_t memory_bytes = 0;  // of the device
  int64_t free_bytes = 0;
  int clock_mhz = 0;  // of the processors, now; 0: unknown (likewise below)
  int memory_clock_mhz = 0;
  double power_watts = 0.0;
  double energy_joules = 0.0;  // since the driver was loaded
};

class Session {
 public:
  // Loads .onnx or .pare. Errors name the file, the node, what was expected and found.
  static Result<Session> load(const std::string& path, const SessionOptions& options = {});
  // From a graph already in memory (library users go through load()).
  static Result<Session> from_graph(const Graph& graph, const SessionOptions& options = {});

  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // `pixels`: count × C × H × W bytes. `scores`: count × class_count floats, logits unless the
  // model itself ends in a softmax. Plans are made once per batch size and kept. One call at a
  // time.
  Status run(std::span<const uint8_t> pixels, int64_t count, std::span<float> scores);

  const ModelInfo& info() const;
  // The plan for a batch size, made now if it does not exist yet.
  Result<std::vector<LayerPlan>> plan(int64_t batch);
  Result<MemoryUse> memory(int64_t batch);

  // Starts (forgetting what was measured) or stops timing every step of every run.
  Status time_steps(bool enabled);
  // Mean microseconds of each step of plan(batch) since timing began; empty if none ran.
  std::vector<double> step_times_us(int64_t batch) const;

  Result<DeviceInfo> device() const;
  // On a GPU: microseconds of each of `runs` runs of the last images of a batch, by the device's
  // own clock: from its memory to its memory, without the copies that run() makes. kUnsupported on
  // the processor.
  Result<std::vector<double>> device_times_us(int64_t batch, int runs);

 private:
  class Impl;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace pare

#endif  // PARE_SESSION_H_
