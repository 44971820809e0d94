#include "kernels/kernel.h"

#include <gtest/gtest.h>

namespace pare {
namespace {

struct Problem {
  int n = 0;
};
struct Kernel {
  const char* name;
  IsaBits needs;
  const char* (*refuse)(const Problem&);
};

constexpr Kernel kFast{"fast", kIsaAvx512 | kIsaAvx512Vnni, nullptr};
constexpr Kernel kWide{"wide", kIsaAvx2,
                       [](const Problem& p) { return p.n < 8 ? "n below 8" : nullptr; }};
constexpr Kernel kReference{"reference", kIsaBaseline, nullptr};
constexpr const Kernel* kList[] = {&kFast, &kWide, &kReference};

Result<Choice<Kernel>> choose(const Problem& p, const KernelRequest& r) {
  return choose_kernel<Kernel>("toy", kList, p, r);
}

TEST(ChooseKernel, TakesTheFirstThatFitsAndSaysWhyNotTheOthers) {
  KernelRequest request;
  request.cpu.avx2 = true;
  request.cpu.avx512 = true;
  auto choice = choose({.n = 9}, request);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->kernel, &kWide);
  EXPECT_EQ(choice->reason, "fast: needs avx512_vnni; first that fits");
  choice = choose({.n = 3}, request);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->kernel, &kReference);
  EXPECT_NE(choice->reason.find("wide: n below 8"), std::string::npos);
}

TEST(ChooseKernel, ReferenceIsTheLast) {
  KernelRequest request;
  request.cpu.avx512 = request.cpu.avx512_vnni = true;
  request.reference = true;
  auto choice = choose({.n = 100}, request);
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->kernel, &kReference);
}

TEST(ChooseKernel, ForcingTheImpossibleFails) {
  KernelRequest request;
  request.cpu.avx2 = true;
  request.forced = "fast";
  EXPECT_EQ(choose({.n = 9}, request).status().message(),
            "kernel 'fast' cannot run here: needs avx512 avx512_vnni");
  request.forced = "wide";
  EXPECT_FALSE(choose({.n = 1}, request).ok());
  EXPECT_TRUE(choose({.n = 8}, request).ok());
  request.forced = "none";
  EXPECT_EQ(choose({.n = 8}, request).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace pare
