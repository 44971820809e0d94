#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "graph/codec.h"

namespace pare {
namespace {

// 12 bits: symbol, frequency and offset of a slot fit one 32-bit table entry (8 + 12 + 12), and the
// table of 4096 entries fits the first-level cache. A block of one symbol only is never coded, so a
// frequency is at most 4095.
constexpr int kScaleBits = 12;
constexpr uint32_t kScale = 1U << kScaleBits;
constexpr uint32_t kLowest = 1U << 16;
// Few lanes keep short blocks short; many let a decoder work on several states at once.
constexpr int kFewLanes = 4;
constexpr int kManyLanes = 32;
constexpr size_t kManyLanesFrom = 16384;

using Frequencies = std::array<uint32_t, 256>;

// Scales counts to a sum of kScale, at least 1 for every symbol that occurs. Rounding errors go to
// the symbols where a step changes the coded size least: count · log2((f ± 1) / f) is about
// count / f, so the largest loss of a step down is where count / f is largest.
Frequencies normalise(const std::array<uint64_t, 256>& counts, uint64_t total) {
  Frequencies f{};
  int64_t sum = 0;
  for (size_t s = 0; s < 256; ++s) {
    if (counts[s] == 0) continue;
    f[s] = static_cast<uint32_t>(std::max<uint64_t>(1, (counts[s] * kScale + total / 2) / total));
    sum += f[s];
  }
  while (sum != kScale) {
    const bool grow = sum < kScale;
    size_t best = 256;
    double best_ratio = 0;
    for (size_t s = 0; s < 256; ++s) {
      if (f[s] == 0 || (!grow && f[s] == 1)) continue;
      const double step = grow ? f[s] : f[s] - 1;
      const double ratio = static_cast<double>(counts[s]) / step;
      if (best == 256 || (grow ? ratio > best_ratio : ratio < best_ratio)) {
        best = s;
        best_ratio = ratio;
      }
    }
    f[best] += grow ? 1 : -1U;
    sum += grow ? 1 : -1;
  }
  return f;
}

void put_varint(std::vector<std::byte>& out, uint32_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<std::byte>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<std::byte>(value));
}

struct Table {
  int lanes = 0;
  Frequencies frequencies{};
  size_t bytes = 0;  // of the payload, up to the states
};

Status bad(const char* what) { return corrupt(fmt::format("entropy-coded block: {}", what)); }

Result<Table> read_table(std::span<const std::byte> in) {
  if (in.size() < 3) return bad("cut off in its frequency table");
  Table t;
  t.lanes = static_cast<int>(in[0]);
  if (t.lanes != kFewLanes && t.lanes != kManyLanes) return bad("expected 4 or 32 lanes");
  const auto first = static_cast<size_t>(in[1]);
  const auto last = static_cast<size_t>(in[2]);
  size_t at = 3;
  uint32_t sum = 0;
  for (size_t s = first; s <= last; ++s) {
    uint32_t value = 0;
    for (int shift = 0;; shift += 7) {
      if (at == in.size()) return bad("cut off in its frequency table");
      if (shift > 7) return bad("a frequency above 4095");
      const auto byte = static_cast<uint32_t>(in[at++]);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    if (value >= kScale) return bad("a frequency above 4095");
    t.frequencies[s] = value;
    sum += value;
  }
  if (sum != kScale) return bad("frequencies that do not add up to 4096");
  t.bytes = at;
  return t;
}

// Entry of each of the 4096 slots: symbol | frequency << 8 | offset within the symbol << 20.
void fill_slots(const Frequencies& f, std::array<uint32_t, kScale>& slots) {
  uint32_t slot = 0;
  for (uint32_t s = 0; s < 256; ++s) {
    for (uint32_t k = 0; k < f[s]; ++k) slots[slot++] = s | (f[s] << 8) | (k << 20);
  }
}

struct WordReader {
  const std::byte* at;
  const std::byte* end;
};

// One step of one lane. Reading past the end yields zeros and is noticed afterwards, since `at`
// then stands beyond `end`.
inline std::byte step(uint32_t& x, const uint32_t* slots, WordReader& words) {
  const uint32_t entry = slots[x & (kScale - 1)];
  x = ((entry >> 8) & (kScale - 1)) * (x >> kScaleBits) + (entry >> 20);
  if (x < kLowest) {
    uint16_t word = 0;
    if (words.at < words.end) std::memcpy(&word, words.at, 2);
    words.at += 2;
    x = (x << 16) | word;
  }
  return static_cast<std::byte>(entry);
}

template <int kLanes>
bool decode_lanes(std::array<uint32_t, kManyLanes>& lanes, const uint32_t* slots, WordReader words,
                  std::span<std::byte> symbols) {
  std::array<uint32_t, kLanes> x;
  std::copy_n(lanes.begin(), kLanes, x.begin());
  std::byte* dst = symbols.data();
  size_t left = symbols.size();
  // Every step takes at most one word: while the words for a whole round are there, they need no
  // check.
  while (left >= kLanes && words.end - words.at >= 2 * kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const uint32_t entry = slots[x[lane] & (kScale - 1)];
      const uint32_t y = ((entry >> 8) & (kScale - 1)) * (x[lane] >> kScaleBits) + (entry >> 20);
      uint16_t word;
      std::memcpy(&word, words.at, 2);
      // Whether a word is taken is as good as random: a mask, since a branch would be mispredicted
      // every other time.
      const uint32_t low = y < kLowest ? ~0U : 0U;
      const uint32_t refilled = (y << 16) | word;
      x[lane] = y ^ ((y ^ refilled) & low);
      words.at += low & 2U;
      dst[lane] = static_cast<std::byte>(entry);
    }
    dst += kLanes;
    left -= kLanes;
  }
  for (size_t i = 0; i < left; ++i) {
    dst[i] = step(x[i % kLanes], slots, words);
    if (words.at > words.end) return false;
  }
  return words.at == words.end &&
         std::ranges::all_of(x, [](uint32_t state) { return state == kLowest; });
}

}  // namespace

std::vector<std::byte> rans_encode(std::span<const std::byte> symbols) {
  std::array<uint64_t, 256> counts{};
  for (const std::byte s : symbols) ++counts[static_cast<size_t>(s)];
  const Frequencies f = normalise(counts, symbols.size());
  std::array<uint32_t, 256> start{};
  std::exclusive_scan(f.begin(), f.end(), start.begin(), 0U);

  const int lanes = symbols.size() >= kManyLanesFrom ? kManyLanes : kFewLanes;
  std::array<uint32_t, kManyLanes> x;
  x.fill(kLowest);
  std::vector<uint16_t> words;  // last one first
  words.reserve(symbols.size() / 2);
  for (size_t i = symbols.size(); i-- > 0;) {
    const auto s = static_cast<size_t>(symbols[i]);
    uint32_t& state = x[i % static_cast<size_t>(lanes)];
    if (state >= f[s] << (32 - kScaleBits)) {
      words.push_back(static_cast<uint16_t>(state));
      state >>= 16;
    }
    state = ((state / f[s]) << kScaleBits) + state % f[s] + start[s];
  }

  std::vector<std::byte> out;
  const auto used = [](uint32_t v) { return v != 0; };
  const auto first = std::find_if(f.begin(), f.end(), used) - f.begin();
  const auto last = 255 - (std::find_if(f.rbegin(), f.rend(), used) - f.rbegin());
  out.push_back(static_cast<std::byte>(lanes));
  out.push_back(static_cast<std::byte>(first));
  out.push_back(static_cast<std::byte>(last));
  for (auto s = first; s <= last; ++s) put_varint(out, f[static_cast<size_t>(s)]);
  std::ranges::reverse(words);
  const size_t at = out.size();
  const size_t state_bytes = static_cast<size_t>(lanes) * 4;
  out.resize(at + state_bytes + words.size() * 2);
  std::memcpy(out.data() + at, x.data(), state_bytes);
  if (!words.empty()) std::memcpy(out.data() + at + state_bytes, words.data(), words.size() * 2);
  return out;
}

Status rans_decode(std::span<const std::byte> payload, std::span<std::byte> symbols) {
  PARE_ASSIGN_OR_RETURN(const Table table, read_table(payload));
  const size_t state_bytes = static_cast<size_t>(table.lanes) * 4;
  payload = payload.subspan(table.bytes);
  if (payload.size() < state_bytes) return bad("cut off in its states");
  if ((payload.size() - state_bytes) % 2 != 0) return bad("half a word at its end");
  std::array<uint32_t, kManyLanes> lanes;
  std::memcpy(lanes.data(), payload.data(), state_bytes);
  for (int lane = 0; lane < table.lanes; ++lane) {
    if (lanes[static_cast<size_t>(lane)] < kLowest) return bad("a state below 65536");
  }
  alignas(64) std::array<uint32_t, kScale> slots;
  fill_slots(table.frequencies, slots);
  const WordReader words = {payload.data() + state_bytes, payload.data() + payload.size()};
  const bool sound = table.lanes == kManyLanes
                         ? decode_lanes<kManyLanes>(lanes, slots.data(), words, symbols)
                         : decode_lanes<kFewLanes>(lanes, slots.data(), words, symbols);
  return sound ? ok_status() : bad("it does not end where its symbols do");
}

}  // namespace pare
