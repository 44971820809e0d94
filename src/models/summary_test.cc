#include "models/summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/numerals.h"
#include "models/models.h"

namespace pare {
namespace {

Summary summary_of(const std::string& name, const ModelOptions& options) {
  const Result<Graph> graph = build_model(name, options);
  EXPECT_TRUE(graph.ok()) << graph.status().message();
  const Result<Summary> summary = summarise(*graph);
  EXPECT_TRUE(summary.ok()) << summary.status().message();
  return summary.ok() ? *summary : Summary();
}

std::vector<std::string> lines_of(const Summary& summary) {
  std::vector<std::string> lines;
  for (const SummaryRow& r : summary.rows) {
    lines.push_back(r.name + " | " + r.layer + " | " + r.output + " | " +
                    with_thousands(r.parameters));
  }
  return lines;
}

// The table, line by line.
TEST(Summary, OfAlexnetIsThePublishedTable) {
  const Summary s = summary_of("alexnet", {.zero_weights = true});
  EXPECT_EQ(s.input, "32×32×3");
  EXPECT_THAT(lines_of(s),
              testing::ElementsAre(
                  "conv1 | conv 11×11×64, no padding, ReLU | 22×22×64 | 23,296",
                  "pool1 | max-pool 3/2 | 10×10×64 | 0",
                  "conv2 | conv 5×5×192, same, ReLU | 10×10×192 | 307,392",
                  "pool2 | max-pool 2/2 | 5×5×192 | 0",
                  "conv3 | conv 3×3×384, same, ReLU | 5×5×384 | 663,936",
                  "conv4 | conv 3×3×256, same, ReLU | 5×5×256 | 884,992",
                  "conv5 | conv 3×3×256, same, ReLU | 5×5×256 | 590,080",
                  "pool5 | max-pool 2/2 | 2×2×256 | 0", "flatten | flatten | 1,024 | 0",
                  "fc6 | dense 4,096, ReLU | 4,096 | 4,198,400", "drop6 | dropout | 4,096 | 0",
                  "fc7 | dense 4,096, ReLU | 4,096 | 16,781,312", "drop7 | dropout | 4,096 | 0",
                  "fc8 | dense 10 | 10 | 40,970"));
  EXPECT_EQ(s.parameters, 23'490'378);
  EXPECT_EQ(s.weight_bytes, 23'490'378 * 4);
  // Output positions times weights of one position, layer by layer.
  EXPECT_EQ(s.rows[0].macs, 22 * 22 * 64 * 11 * 11 * 3);
  EXPECT_EQ(s.macs, 22 * 22 * 64 * 363 + 100 * 192 * 1600 + 25 * 384 * 1728 + 25 * 256 * 3456 +
                        25 * 256 * 2304 + 1024 * 4096 + 4096 * 4096 + 40960);
}

// The figures for one block and the ends.
TEST(Summary, OfVitSeedHasThePublishedCounts) {
  const Summary s = summary_of("vit-seed", {.zero_weights = true});
  const std::vector<std::string> lines = lines_of(s);
  EXPECT_EQ(lines[0],
            "patch_embed | conv 6×6×64, stride 6, no padding, position embedding | 25×64 | 8,576");
  EXPECT_THAT(lines, testing::IsSupersetOf({"blocks.0.norm1 | layer norm | 25×64 | 128",
                                            "blocks.0.attn | attention | 25×64 | 66,368",
                                            "blocks.0.mlp.fc1 | dense 128, GELU | 25×128 | 8,320",
                                            "blocks.0.mlp.fc2 | dense 64 | 25×64 | 8,256",
                                            "blocks.0.add2 | residual | 25×64 | 0",
                                            "head.fc1 | dense 2,048, GELU | 2,048 | 3,278,848",
                                            "head.out | dense 10 | 10 | 10,250"}));
  EXPECT_EQ(s.parameters, 6'061'578);
  // Attention multiplies 25 tokens with the weights, and 25×25 pairs twice 64 wide in each head.
  for (const SummaryRow& row : s.rows) {
    if (row.name == "blocks.0.attn") {
      EXPECT_EQ(row.macs, 25 * 64 * 768 + 25 * 256 * 64 + 4 * 25 * 25 * 64 * 2);
    }
  }
}

}  // namespace
}  // namespace pare
