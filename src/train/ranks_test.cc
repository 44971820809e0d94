// What ranks do together, as threads of one process over Gloo.
#include "train/ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "train/gradient_sum.h"
#include "train/losses.h"
#include "train/rank_norm.h"
#include "train/rank_threads.h"
#include "train/tensors.h"
#include "train/tiny_run.h"

namespace pare {
namespace {

using std::chrono::milliseconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.detach() - b.detach()).abs().max().item().toDouble();
}

TEST(Ranks, AddCopyVoteAndTellEachOther) {
  expect_all_ok(run_ranks(3, [](Ranks& ranks) -> Status {
    // Lying otherwise than row-major.
    const at::Tensor t =
        at::full({2, 3, 4, 4}, ranks.rank() + 1.0).contiguous(at::MemoryFormat::ChannelsLast);
    PARE_RETURN_IF_ERROR(ranks.sum(t));
    EXPECT_TRUE(t.eq(6).all().item().toBool());
    const at::Tensor c = at::full({5}, ranks.rank(), at::TensorOptions(at::kLong));
    PARE_RETURN_IF_ERROR(ranks.copy_from_leader(c));
    EXPECT_TRUE(c.eq(0).all().item().toBool());
    PARE_ASSIGN_OR_RETURN(const std::string text,
                          ranks.text_from_leader(ranks.leads() ? "what rank 0 says" : "no"));
    EXPECT_EQ(text, "what rank 0 says");
    PARE_ASSIGN_OR_RETURN(const std::string nothing, ranks.text_from_leader(""));
    EXPECT_EQ(nothing, "");
    PARE_ASSIGN_OR_RETURN(const int64_t largest, ranks.largest(-5 + ranks.rank()));
    EXPECT_EQ(largest, -3);
    for (int64_t round = 0; round < 3; ++round) {
      ranks.begin_vote(ranks.rank() == round ? 1 << round : 0);
      PARE_ASSIGN_OR_RETURN(const int64_t wishes, ranks.end_vote());
      EXPECT_EQ(wishes, 1 << round);
    }
    EXPECT_EQ(ranks.sharing_cores(), 3);
    EXPECT_THAT(ranks.name(), HasSubstr("of 3 on "));
    return ranks.agree("answer", "42");
  }));
}

TEST(Ranks, OneThatFailsIsNamedByAll) {
  const auto ends = run_ranks(3, [](Ranks& ranks) -> Status {
    if (ranks.rank() == 1) return io_error("photos/7.png: cannot be read");
    return ranks.sum(at::ones({4}));
  });
  EXPECT_THAT(ends[1].message(), testing::StartsWith("rank 1 of 3 on "));
  for (const Status& end : ends) {
    EXPECT_EQ(end.code(), StatusCode::kIo);
    EXPECT_THAT(end.message(),
                AllOf(HasSubstr("rank 1 of 3 on "), HasSubstr("photos/7.png: cannot be read")));
  }
  EXPECT_THAT(ends[2].message(), testing::StartsWith("rank 2 of 3 on "));
}

TEST(Ranks, ThoseThatDisagreeAreTold) {
  const auto ends = run_ranks(2, [](Ranks& ranks) -> Status {
    PARE_RETURN_IF_ERROR(ranks.agree("recipe", ranks.leads() ? "a" : "b"));
    return ranks.meet();
  });
  for (const Status& end : ends) {
    EXPECT_THAT(end.message(), AllOf(HasSubstr("another recipe than rank 0"), HasSubstr("rank 1")));
  }
}

TEST(Ranks, OneThatDoesNotComeIsNamed) {
  RanksOptions options;
  options.join = milliseconds(1500);
  const auto late = Ranks::join(place_here(0, 3, free_port()), options);
  EXPECT_THAT(late.status().message(), HasSubstr("1, 2 did not come within 1 s"));
  const auto alone = Ranks::join(place_here(1, 2, free_port()), options);
  EXPECT_THAT(alone.status().message(), HasSubstr("cannot meet at 127.0.0.1"));
}

// A rank that hangs: its connections stay open.
TEST(Ranks, OneThatIsSilentIsFoundWithinItsTime) {
  RanksOptions options;
  options.pulse = {milliseconds(50), milliseconds(1000), milliseconds(400)};
  const int port = free_port();
  std::vector<std::string> names = {"rank 0", "rank 1"};
  std::optional<std::string> found;
  std::thread zero([&] {
    auto ranks = Ranks::join(place_here(0, 2, port), options);
    ASSERT_TRUE(ranks.ok()) << ranks.status().message();
    const auto begin = std::chrono::steady_clock::now();
    const Status end = (*ranks)->close((*ranks)->sum(at::ones({4})));
    EXPECT_THAT(end.message(), AllOf(HasSubstr("rank 1 of 2"), HasSubstr("no sign of life")));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, milliseconds(5000));
  });
  std::thread one([&] {
    RanksOptions rare = options;
    rare.pulse.beat = milliseconds(3000);  // its first beats are too far apart
    auto ranks = Ranks::join(place_here(1, 2, port), rare);
    ASSERT_TRUE(ranks.ok()) << ranks.status().message();
    std::this_thread::sleep_for(milliseconds(2500));
    (void)(*ranks)->close(internal_error("woke up too late"));
  });
  zero.join();
  one.join();
}

// Gradients of the tiny net for the whole of a batch.
struct Gradients {
  std::map<std::string, at::Tensor> of;
  double loss = 0;
  at::Tensor mean;  // running, of the first batch norm
};

Gradients gradients_of(const Graph& graph, Ranks* ranks, const BucketSizes& sizes = {}) {
  auto network = std::move(TorchExecutor::create(graph)).value();
  const auto data = tiny_images(64, 5);
  Batch batch;
  LoaderOptions options{.batch_size = 27, .seed = 3, .share = share_of(ranks)};
  options.augment.cutmix_alpha = 1;
  auto loader = std::move(Loader::create(data, options)).value();
  EXPECT_TRUE(loader->next(batch).ok());
  std::unique_ptr<GradientSum> sum;
  if (ranks != nullptr) sum = std::make_unique<GradientSum>(*ranks, network, sizes);
  const double share = batch.part();
  const TorchBatch images = to_torch_batch(batch, data->image_shape(), at::kCPU);
  const auto output =
      network.forward(model_input(images.pixels, graph),
                      {.batch_statistics = true, .ranks = ranks, .batch_share = share});
  EXPECT_TRUE(output.ok()) << output.status().message();
  const at::Tensor loss = label_loss(*output, images, 0.1);
  if (sum != nullptr) sum->begin();
  (loss * share).backward();
  EXPECT_TRUE(sum == nullptr || sum->finish().ok());
  Gradients out;
  for (const auto& p : network.parameters()) out.of[p.name] = p.gradient();
  out.loss = loss.item().toDouble() * share;
  out.mean = network.buffers()[0].value;
  return out;
}

TEST(Ranks, GradientsOfSharesAddUpToTheWholeBatchs) {
  const Graph graph = tiny_graph();
  const Gradients whole = gradients_of(graph, nullptr);
  for (const int size : {2, 3, 4}) {
    // One bucket; several; each weight alone.
    for (const int64_t bytes : {int64_t{1} << 20, int64_t{1500}, int64_t{4}}) {
      expect_all_ok(run_ranks(size, [&](Ranks& ranks) -> Status {
        const Gradients parts =
            gradients_of(graph, &ranks, {.first_bytes = bytes, .bucket_bytes = bytes});
        for (const auto& [name, gradient] : whole.of) {
          const at::Tensor& mine = parts.of.at(name);
          EXPECT_TRUE(mine.defined()) << name;
          const double norm = gradient.abs().max().item().toDouble();
          // The same sums in float32 in another order; a bias before batch norm has none but
          // rounding.
          EXPECT_LE(largest_difference(mine, gradient), 2e-5 * norm + 1e-6) << name;
        }
        EXPECT_LE(largest_difference(parts.mean, whole.mean), 1e-6);
        const at::Tensor loss = at::full({1}, parts.loss, at::TensorOptions(at::kDouble));
        PARE_RETURN_IF_ERROR(ranks.sum(loss));
        EXPECT_NEAR(loss.item().toDouble(), whole.loss, 1e-5);
        return ok_status();
      }));
    }
  }
}

TEST(Ranks, AWeightThatTheLossDoesNotReachStaysWithoutGradient) {
  Graph graph = tiny_graph();
  graph.initializers["lonely.weight"] = graph.initializers["dense.weight"];
  graph.nodes.push_back(
      {"Gemm", "", "lonely", {"drop", "lonely.weight"}, {"aside"}, {{"transB", int64_t{1}}}});
  expect_all_ok(run_ranks(2, [&](Ranks& ranks) -> Status {
    const Gradients got = gradients_of(graph, &ranks);
    EXPECT_FALSE(got.of.at("lonely.weight").defined());
    EXPECT_TRUE(got.of.at("dense.weight").defined());
    return ok_status();
  }));
}

TEST(Ranks, BatchNormIsThatOfTheWholeBatch) {
  at::manual_seed(7);
  for (const std::vector<int64_t>& shape :
       {std::vector<int64_t>{10, 5, 4, 3}, std::vector<int64_t>{10, 5}}) {
    const at::Tensor x = at::randn(shape) * 3 + 40;  // far from zero, where squares would cancel
    const at::Tensor way = at::randn(shape);         // the loss is Σ way · y
    const at::Tensor gamma = at::rand({5}) + 0.5;
    const at::Tensor beta = at::randn({5});
    const auto fresh = [](const at::Tensor& t) { return t.clone().requires_grad_(true); };
    const at::Tensor wx = fresh(x);
    const at::Tensor wg = fresh(gamma);
    const at::Tensor wb = fresh(beta);
    const at::Tensor mean = at::zeros({5});
    const at::Tensor variance = at::ones({5});
    const at::Tensor y = at::batch_norm(wx, wg, wb, mean, variance, true, 0.1, 1e-5, false);
    (y * way).sum().backward();
    const std::vector<int64_t> begins = {0, 3, 4, 10};  // shares of unequal size
    expect_all_ok(run_ranks(3, [&](Ranks& ranks) -> Status {
      const auto r = static_cast<size_t>(ranks.rank());
      const int64_t count = begins[r + 1] - begins[r];
      const at::Tensor px = fresh(x.narrow(0, begins[r], count));
      const at::Tensor pg = fresh(gamma);
      const at::Tensor pb = fresh(beta);
      const at::Tensor m = at::zeros({5});
      const at::Tensor v = at::ones({5});
      const at::Tensor out =
          rank_batch_norm(ranks, {px, pg, pb, m, v, static_cast<double>(count) / 10.0, 0.1, 1e-5});
      (out * way.narrow(0, begins[r], count)).sum().backward();
      EXPECT_LE(largest_difference(out, y.narrow(0, begins[r], count)), 2e-5);
      EXPECT_LE(largest_difference(px.grad(), wx.grad().narrow(0, begins[r], count)), 2e-5);
      EXPECT_LE(largest_difference(m, mean), 1e-5);
      EXPECT_LE(largest_difference(v, variance), 1e-5);
      PARE_RETURN_IF_ERROR(ranks.sum(pg.grad()));
      PARE_RETURN_IF_ERROR(ranks.sum(pb.grad()));
      EXPECT_LE(largest_difference(pg.grad(), wg.grad()), 1e-4);
      EXPECT_LE(largest_difference(pb.grad(), wb.grad()), 1e-4);
      return ok_status();
    }));
  }
}

}  // namespace
}  // namespace pare
