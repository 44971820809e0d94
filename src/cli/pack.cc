// pare pack and pare unpack: between .onnx and .pare, both ways without loss.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>

#include "base/file.h"
#include "cli/command.h"
#include "cli/model_argument.h"
#include "graph/model_file.h"
#include "graph/onnx.h"
#include "graph/pare_file.h"

namespace pare {
namespace {

struct PackArguments {
  std::string input;
  std::string output;
  bool uncoded = false;
  bool external_data = false;
  bool signed_weights = false;
};

Status expect_ending(const std::string& path, const char* ending) {
  if (std::filesystem::path(path).extension() == ending) return ok_status();
  return invalid_argument(fmt::format("{}: expected a file ending in {}", path, ending));
}

std::string megabytes(int64_t bytes) {
  return fmt::format("{:.2f} MB", static_cast<double>(bytes) / 1e6);
}

// `before`: the input's size, which the output may have replaced.
Status print_sizes(const PackArguments& o, int64_t before) {
  PARE_ASSIGN_OR_RETURN(const int64_t after, file_size(o.output));
  fmt::print("{}: {} -> {}: {}\n", o.input, megabytes(before), o.output, megabytes(after));
  return ok_status();
}

Status pack(const PackArguments& o) {
  PARE_RETURN_IF_ERROR(expect_ending(o.output, ".pare"));
  PARE_RETURN_IF_ERROR(check_can_write(o.output));
  PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(o.input));
  PARE_ASSIGN_OR_RETURN(const int64_t before, file_size(o.input));
  PARE_RETURN_IF_ERROR(write_pare(graph, o.output, {.uncoded = o.uncoded}));
  return print_sizes(o, before);
}

Status unpack(const PackArguments& o) {
  PARE_RETURN_IF_ERROR(expect_ending(o.input, ".pare"));
  PARE_RETURN_IF_ERROR(expect_ending(o.output, ".onnx"));
  PARE_RETURN_IF_ERROR(check_can_write(o.output));
  PARE_ASSIGN_OR_RETURN(const Graph graph, load_model(o.input));
  PARE_ASSIGN_OR_RETURN(const int64_t before, file_size(o.input));
  PARE_RETURN_IF_ERROR(write_onnx(
      graph, o.output, {.external_data = o.external_data, .signed_weights = o.signed_weights}));
  return print_sizes(o, before);
}

}  // namespace

Command make_pack_command() {
  return {.name = "pack",
          .summary = "Pack a model into a .pare file, without loss",
          .examples =
              "  pare pack alexnet.onnx -o alexnet.pare\n"
              "  pare pack alexnet.pare --uncoded -o mapped.pare",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<PackArguments>();
            app.add_option("input", o->input, "Model, .onnx or .pare, or one of the zoo")
                ->transform(model_argument())
                ->required();
            app.add_option("-o,--output", o->output, "File to write, .pare")->required();
            app.add_flag("--uncoded", o->uncoded,
                         "Store weights as they are, ready to be mapped into memory");
            return [o] { return pack(*o); };
          }};
}

Command make_unpack_command() {
  return {.name = "unpack",
          .summary = "Turn a .pare file back into ONNX, without loss",
          .examples = "  pare unpack alexnet.pare -o alexnet.onnx",
          .setup = [](CLI::App& app) -> std::function<Status()> {
            auto o = std::make_shared<PackArguments>();
            app.add_option("input", o->input, "Model, .pare, or one of the zoo")
                ->transform(model_argument())
                ->required();
            app.add_option("-o,--output", o->output, "File to write, .onnx")->required();
            app.add_flag("--external-data", o->external_data,
                         "Put large weights into a file beside the model");
            app.add_flag("--signed-weights", o->signed_weights,
                         "Write eight-bit weights as int8 about zero, for engines that take no "
                         "other; uint8 about 128 without it, which all multiply exactly");
            return [o] { return unpack(*o); };
          }};
}

}  // namespace pare
