// Parts of a dataset: given positions, or a seeded and class-balanced draw.

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/file.h"
#include "base/numerals.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "data/memory_dataset.h"

namespace pare {
namespace {

class SubsetDataset : public Dataset {
 public:
  SubsetDataset(std::shared_ptr<const Dataset> base, std::vector<int64_t> indices,
                std::string description)
      : base_(std::move(base)),
        indices_(std::move(indices)),
        description_(std::move(description)) {}

  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  ImageShape image_shape() const override { return base_->image_shape(); }
  Status read_image(int64_t i, std::span<uint8_t> dst) const override {
    PARE_RETURN_IF_ERROR(check_read(*this, i, dst.size()));
    return base_->read_image(indices_[static_cast<size_t>(i)], dst);
  }
  int32_t label(int64_t i) const override { return base_->label(indices_[static_cast<size_t>(i)]); }
  const std::vector<std::string>& classes() const override { return base_->classes(); }
  std::string description() const override { return description_; }
  std::string hash() const override {
    const std::string text =
        base_->hash() + hash_bytes(std::as_bytes(std::span<const int64_t>(indices_)));
    return hash_bytes(std::as_bytes(std::span(text)));
  }

 private:
  std::shared_ptr<const Dataset> base_;
  std::vector<int64_t> indices_;
  std::string description_;
};

// Each class is shuffled by itself; then the classes give one image in turn, so their counts differ
// by one at most unless a class runs out. Ascending.
std::vector<int64_t> draw_balanced(const Dataset& base, int64_t count, uint64_t seed) {
  const size_t class_count = base.classes().size();
  std::vector<std::vector<int64_t>> of_class(class_count);
  for (int64_t i = 0; i < base.size(); ++i) {
    of_class[static_cast<size_t>(base.label(i))].push_back(i);
  }
  for (size_t c = 0; c < class_count; ++c) {
    std::vector<int64_t>& members = of_class[c];
    Rng rng(seed, RngPurpose::kSplit, c);
    std::vector<int64_t> shuffled;
    for (const int64_t k : rng.permutation(static_cast<int64_t>(members.size()))) {
      shuffled.push_back(members[static_cast<size_t>(k)]);
    }
    members = std::move(shuffled);
  }
  std::vector<int64_t> chosen;
  for (size_t round = 0; static_cast<int64_t>(chosen.size()) < count; ++round) {
    for (size_t c = 0; c < class_count && static_cast<int64_t>(chosen.size()) < count; ++c) {
      if (round < of_class[c].size()) chosen.push_back(of_class[c][round]);
    }
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

}  // namespace

std::shared_ptr<const Dataset> subset(std::shared_ptr<const Dataset> base,
                                      std::vector<int64_t> indices, std::string description) {
  return std::make_shared<SubsetDataset>(std::move(base), std::move(indices),
                                         std::move(description));
}

Result<std::shared_ptr<const Dataset>> balanced_subset(const std::shared_ptr<const Dataset>& base,
                                                       int64_t count, uint64_t seed,
                                                       const std::string& what) {
  if (count < 1 || count > base->size()) {
    return invalid_argument(fmt::format("{}: {} {} asked for, expected 1 to {}",
                                        base->description(), count, what, base->size()));
  }
  return subset(base, draw_balanced(*base, count, seed),
                fmt::format("{} {} of: {} (seed {})", with_thousands(count), what,
                            base->description(), seed));
}

Result<HeldOut> hold_out(const std::shared_ptr<const Dataset>& base, int64_t count, uint64_t seed) {
  if (count < 1 || count >= base->size()) {
    return invalid_argument(fmt::format("{}: {} images to be held out, expected 1 to {}",
                                        base->description(), count, base->size() - 1));
  }
  const std::vector<int64_t> held = draw_balanced(*base, count, seed);
  std::vector<int64_t> kept;
  for (int64_t i = 0; i < base->size(); ++i) {
    if (!std::binary_search(held.begin(), held.end(), i)) kept.push_back(i);
  }
  const std::string which = fmt::format("{} (seed {})", base->description(), seed);
  const std::string kept_text =
      fmt::format("{} of: {}", with_thousands(base->size() - count), which);
  return HeldOut{
      subset(base, std::move(kept), kept_text),
      subset(base, held, fmt::format("{} held out of: {}", with_thousands(count), which))};
}

}  // namespace pare
