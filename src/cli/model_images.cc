#include "cli/model_images.h"

#include <fmt/format.h>

#include "measure/model_images.h"

namespace pare {

Result<std::shared_ptr<const Dataset>> ModelImages::of(const InputContract& contract) {
  if (contract.height != contract.width) {
    return unsupported(
        fmt::format("images of {}x{}: expected square ones", contract.height, contract.width));
  }
  const Size size{contract.height, contract.resize};
  if (const auto it = open_.find(size); it != open_.end()) return it->second;
  DatasetOptions options = options_;
  options.test_only = true;
  fit_to_contract(contract, options);
  ProgressLine progress(stderr_is_terminal(), ProgressLine::Elsewhere::kQuiet);
  options.progress = [&progress](int64_t done, int64_t total) {
    progress.show([&](size_t) {
      const std::string bar = total > 0 ? progress_bar(done, total) : "";
      return fmt::format("downloading {:.1f} MB {}", static_cast<double>(done) / 1e6, bar);
    });
  };
  PARE_ASSIGN_OR_RETURN(DatasetPair data, open_dataset(options));
  for (const std::string& warning : data.warnings) progress.line(warning);
  return open_.emplace(size, std::move(data.test)).first->second;
}

}  // namespace pare
