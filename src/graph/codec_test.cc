#include "graph/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <map>

#include "base/rng.h"

namespace pare {
namespace {

using Bytes = std::vector<std::byte>;

// n elements of `width` bytes, zero with probability `zeros`, else about normal in their last byte
// and random in the others, as weights are.
Bytes weights(size_t n, int width, float zeros, uint64_t seed) {
  Rng rng(seed, RngPurpose::kTest);
  Bytes bytes(n * static_cast<size_t>(width));
  for (size_t i = 0; i < n; ++i) {
    if (rng.bernoulli(zeros)) continue;
    for (int p = 0; p < width; ++p) {
      const auto value =
          p + 1 == width ? static_cast<int>(rng.normal() * 20) : static_cast<int>(rng.below(256));
      bytes[i * static_cast<size_t>(width) + static_cast<size_t>(p)] =
          static_cast<std::byte>(value);
    }
  }
  return bytes;
}

void expect_round_trip(const Bytes& bytes, int width) {
  const Bytes coded = encode_chunk(bytes, width);
  Bytes out(bytes.size(), std::byte{0xee});
  const Status status = decode_chunk(coded, width, out);
  ASSERT_TRUE(status.ok()) << status.message();
  EXPECT_TRUE(out == bytes) << bytes.size() << " bytes, width " << width;
}

TEST(Codec, KeepsEveryByte) {
  for (const int width : {1, 2, 4, 8}) {
    for (const size_t n : {0UL, 1UL, 2UL, 3UL, 7UL, 8UL, 9UL, 31UL, 33UL, 1000UL, 16383UL, 16384UL,
                           16385UL, 40000UL}) {
      for (const float zeros : {0.0F, 0.1F, 0.5F, 0.9F, 0.999F, 1.0F}) {
        expect_round_trip(weights(n, width, zeros, n), width);
      }
    }
  }
}

// Where every layout has to win once: the layout byte says which did.
TEST(Codec, PicksTheLayoutThatPays) {
  const auto layout = [](const Bytes& bytes, int width) {
    return static_cast<int>(encode_chunk(bytes, width)[0]);
  };
  EXPECT_EQ(layout(weights(100000, 1, 0.0F, 1), 1), 0);
  EXPECT_EQ(layout(weights(100000, 4, 0.0F, 1), 4), 1);
  EXPECT_GE(layout(weights(100000, 4, 0.8F, 1), 4), 2);
  EXPECT_GE(layout(weights(100000, 1, 0.999F, 1), 1), 2);
}

double entropy_bytes(const Bytes& bytes) {
  std::map<std::byte, double> counts;
  for (const std::byte b : bytes) ++counts[b];
  double bits = 0;
  for (const auto& [symbol, count] : counts) {
    bits -= count * std::log2(count / static_cast<double>(bytes.size()));
  }
  return bits / 8;
}

// Shannon's bound, from the counts: frequencies in 1/4096 and the tables cost under 1 %.
TEST(Codec, ReachesTheEntropy) {
  const Bytes dense = weights(kCodecChunkElements, 1, 0.0F, 3);
  EXPECT_LT(static_cast<double>(encode_chunk(dense, 1).size()), entropy_bytes(dense) * 1.01);
  EXPECT_GE(static_cast<double>(encode_chunk(dense, 1).size()), entropy_bytes(dense));
  // Nine in ten pruned: positions and values together have the entropy of the whole.
  const Bytes sparse = weights(kCodecChunkElements, 1, 0.9F, 3);
  EXPECT_LT(static_cast<double>(encode_chunk(sparse, 1).size()), entropy_bytes(sparse) * 1.015);
}

// Two symbols, three times as many of one: worked by hand from the formulas in codec.h. Frequencies
// are 3072 and 1024; all four lanes start at 65536 and the symbols go in from the last:
// lane 3 takes 1: 65536 / 1024 · 4096 + 0 + 3072; lanes 2, 1 and 0 take 0:
// 65536 / 3072 = 21 remainder 1024: 21 · 4096 + 1024.
TEST(Codec, WorkedExample) {
  const Bytes symbols = {std::byte{5}, std::byte{5}, std::byte{5}, std::byte{6}};
  const Bytes payload = rans_encode(symbols);
  ASSERT_EQ(payload.size(), 3U + 4U + 16U);
  EXPECT_EQ(payload[0], std::byte{4});
  EXPECT_EQ(payload[1], std::byte{5});
  EXPECT_EQ(payload[2], std::byte{6});
  EXPECT_EQ(payload[3], std::byte{0x80});  // 3072 = 24 · 128
  EXPECT_EQ(payload[4], std::byte{24});
  EXPECT_EQ(payload[5], std::byte{0x80});  // 1024 = 8 · 128
  EXPECT_EQ(payload[6], std::byte{8});
  uint32_t states[4];
  std::memcpy(states, payload.data() + 7, 16);
  EXPECT_THAT(states, testing::ElementsAre(87040U, 87040U, 87040U, 265216U));
}

// Every byte changed, every length cut: a message or other elements, never a crash or an overrun
// (the sanitizer build looks for those).
TEST(Codec, SurvivesDamage) {
  for (const float zeros : {0.0F, 0.5F, 0.95F}) {
    const Bytes bytes = weights(300, 2, zeros, 5);
    const Bytes coded = encode_chunk(bytes, 2);
    Bytes out(bytes.size());
    for (size_t at = 0; at < coded.size(); ++at) {
      for (const int flip : {1, 0x80, 0xff}) {
        Bytes damaged = coded;
        damaged[at] ^= static_cast<std::byte>(flip);
        const Status status = decode_chunk(damaged, 2, out);
        EXPECT_TRUE(status.ok() || status.code() == StatusCode::kCorrupt) << status.message();
      }
      EXPECT_EQ(decode_chunk(std::span(coded).first(at), 2, out).code(), StatusCode::kCorrupt);
    }
    Bytes longer = coded;
    longer.push_back(std::byte{0});
    EXPECT_EQ(decode_chunk(longer, 2, out).code(), StatusCode::kCorrupt);
  }
}

TEST(Codec, RefusesATableThatDoesNotAddUp) {
  Bytes payload = rans_encode(weights(1000, 1, 0.0F, 2));
  Bytes out(1000);
  payload[3] ^= std::byte{1};
  EXPECT_THAT(rans_decode(payload, out).message(), testing::HasSubstr("do not add up to 4096"));
}

}  // namespace
}  // namespace pare
