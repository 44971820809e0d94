// Peers played by a shell script that answers as peers/peer.py does, and by ones that do not.
#include "measure/peers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "base/file.h"
#include "measure/latency.h"
#include "measure/toy.h"
#include "records/record.h"
#include "records/schema.h"
#include "testing/files.h"

namespace pare {
namespace {

using measure_toy::images;
using measure_toy::many_images;
using measure_toy::pixel_model;
using testing::HasSubstr;

// Answers every request by the line that stands for its "op".
PeerPlace scripted(const std::string& name, const std::string& cases) {
  static const testing_files::TemporaryFolder folder;
  const std::string path = folder.path(name + ".sh");
  const Status written =
      write_file(path, "while read -r line; do case \"$line\" in\n" + cases + "esac; done\n");
  EXPECT_TRUE(written.ok()) << written.message();
  return {"/bin/sh", path};
}

std::string answer(const std::string& op, const std::string& text) {
  return "*'\"op\":\"" + op + "\"'*) echo '" + text + "' ;;\n";
}

constexpr ImageShape kShape = {3, 1, 2};

PeerFiles files_for(const PeerOptions& options) {
  auto files = PeerFiles::create(pixel_model(), *many_images(20), options);
  EXPECT_TRUE(files.ok()) << files.status().message();
  return *files;
}

TEST(Peers, FilesHoldTheModelAndTheImagesAndGoAway) {
  std::string model;
  {
    const PeerFiles files = files_for({.images = 8, .batch = 4});
    model = files.model();
    EXPECT_TRUE(file_exists(model));
    EXPECT_EQ(*file_size(files.images()), 8 * 6);
  }
  EXPECT_FALSE(file_exists(model));
}

TEST(Peers, WhoRefusesIsLeftOutByName) {
  const PeerPlace place = scripted(
      "refuses", "*'\"engine\":\"openvino\"'*) echo '{\"error\": \"no such type here\"}' ;;\n" +
                     answer("open", R"({"version": "1.2"})"));
  const PeerOptions options = {.engines = {"onnxruntime", "openvino"}, .precision = "int8"};
  auto peers = open_peers(place, files_for(options), kShape, options);
  ASSERT_TRUE(peers.ok()) << peers.status().message();
  ASSERT_EQ(peers->peers.size(), 1U);
  EXPECT_EQ(peers->peers[0].engine, "onnxruntime");
  EXPECT_EQ(peers->peers[0].version, "1.2");
  EXPECT_THAT(peers->left_out, testing::ElementsAre("openvino: no such type here"));
}

TEST(Peers, AProcessThatEndsOrBabblesIsNamed) {
  const PeerOptions options = {.engines = {"onnxruntime"}, .precision = "float32"};
  auto gone = open_peers(scripted("gone", "*) exit 3 ;;\n"), files_for(options), kShape, options);
  ASSERT_TRUE(gone.ok());
  ASSERT_EQ(gone->left_out.size(), 1U);
  EXPECT_THAT(gone->left_out[0], HasSubstr("ended without an answer"));
  auto babble =
      open_peers(scripted("babble", "*) echo hello ;;\n"), files_for(options), kShape, options);
  ASSERT_TRUE(babble.ok());
  EXPECT_THAT(babble->left_out[0], HasSubstr("answered 'hello'"));
  auto process = PeerProcess::start(scripted("silent", "*) sleep 30 ;;\n"));
  ASSERT_TRUE(process.ok());
  EXPECT_THAT(process->ask({{"op", "open"}}, 0.1).status().message(), HasSubstr("no answer in"));
  EXPECT_FALSE(PeerProcess::start({"/no/such/python", "x"}).ok());
}

Peer opened(const std::string& name, const std::string& cases, const PeerOptions& options) {
  const PeerPlace place = scripted(name, answer("open", R"({"version": "7"})") + cases);
  auto peers = open_peers(place, files_for(options), kShape, options);
  EXPECT_TRUE(peers.ok() && peers->peers.size() == 1);
  return std::move(peers->peers[0]);
}

TEST(Peers, AnswersAreCompared) {
  const PeerOptions options = {.engines = {"onnxruntime"}, .precision = "float32"};
  // Two images; of the second the peer has another class first.
  const auto data = images({1, 2, 3, 4, 5, 60, 10, 20, 30, 40, 50, 60}, {5, 5});
  Peer peer = opened("scores",
                     answer("prepare", R"({"settings": "fast"})") +
                         answer("scores", R"({"scores": [[1,2,3,4,5,60],[10,20,30,40,61,60]]})"),
                     options);
  ASSERT_TRUE(prepare_peer(peer, 2).ok());
  EXPECT_EQ(peer.settings, "fast");
  auto session = Session::from_graph(pixel_model(), {.threads = 1});
  ASSERT_TRUE(session.ok());
  const auto agreement = compare_with_peer(peer, *session, *data, 2, 2);
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(agreement->images, 2);
  EXPECT_EQ(agreement->same_top1, 1);
  EXPECT_NEAR(agreement->difference, 11.0 / 61.0, 1e-12);
  EXPECT_FALSE(compare_with_peer(peer, *session, *many_images(9), 3, 3).ok())
      << "two rows of three";
}

TEST(Peers, AreComparedOnTheImagesTheyHave) {
  // The peer goes round 4 images: of the 20 asked for, 4 are compared.
  const PeerOptions options = {.engines = {"onnxruntime"}, .precision = "float32", .images = 4};
  const auto data = many_images(20);
  auto session = Session::from_graph(pixel_model(), {.threads = 1});
  ASSERT_TRUE(session.ok());
  nlohmann::json scores;
  for (int64_t i = 0; i < 4; ++i) {
    std::vector<uint8_t> pixels(6);
    std::vector<float> row(6);
    ASSERT_TRUE(read_images(*data, i, pixels).ok());
    ASSERT_TRUE(session->run(pixels, 1, row).ok());
    scores.push_back(row);
  }
  Peer peer = opened("few", answer("scores", nlohmann::json{{"scores", scores}}.dump()), options);
  const auto agreement = compare_with_peer(peer, *session, *data, 2, 20);
  ASSERT_TRUE(agreement.ok()) << agreement.status().message();
  EXPECT_EQ(agreement->images, 4);
  EXPECT_EQ(agreement->same_top1, 4);
  EXPECT_EQ(agreement->difference, 0);
}

TEST(Peers, TakeTurnsWithOurs) {
  const PeerOptions options = {.engines = {"onnxruntime"}, .precision = "float32"};
  // The shell tells the runs that were asked for from the request.
  const std::string time =
      "*'\"op\":\"time\"'*) n=$(echo \"$line\" | sed 's/.*\"runs\":\\([0-9]*\\).*/\\1/'); s=100000;"
      " i=1; while [ $i -lt $n ]; do s=\"$s,100000\"; i=$((i+1)); done;"
      " echo \"{\\\"samples_us\\\": [$s], \\\"peak_bytes\\\": 4096}\" ;;\n";
  Peer peer = opened("turns", time, options);
  auto session = Session::from_graph(pixel_model(), {.threads = 1});
  ASSERT_TRUE(session.ok());
  const auto records = measure_latency(
      {{.id = {.model = "toy"}, .precision = "float32", .session = &*session},
       {.id = {.model = "toy"}, .precision = "float32", .peer = &peer, .threads = 2}},
      *many_images(20), {.batch = 2, .seconds = 0, .min_runs = 20});
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records->size(), 2U);
  const LatencyRecord& r = (*records)[1];
  EXPECT_EQ(r.engine, "onnxruntime");
  EXPECT_EQ(r.engine_version, "7");
  EXPECT_EQ(r.runs, 20);
  EXPECT_DOUBLE_EQ(r.latency_us_p50, 100000);
  EXPECT_EQ(r.peak_bytes, 4096);
  EXPECT_TRUE(r.check().ok()) << r.check().message();
}

// What peers/run.py wrote, two engines on alexnet: records like Pare's own.
TEST(Peers, RecordsOfTheScriptsAreOurs) {
  std::vector<std::string> warnings;
  const auto records = read_records(testing_files::fixture_path("peers/run.jsonl"), &warnings);
  ASSERT_TRUE(records.ok()) << records.status().message();
  EXPECT_TRUE(warnings.empty());
  int latencies = 0;
  int accuracies = 0;
  int predictions = 0;
  for (const Record& record : *records) {
    if (record.kind == LatencyRecord::kKind) {
      ++latencies;
      EXPECT_TRUE(from_record<LatencyRecord>(record).ok());
    } else if (record.kind == AccuracyRecord::kKind) {
      ++accuracies;
      EXPECT_TRUE(from_record<AccuracyRecord>(record).ok());
    } else {
      ++predictions;
      const auto p = from_record<PredictionsRecord>(record);
      ASSERT_TRUE(p.ok()) << p.status().message();
      EXPECT_EQ(p->labels.size(), p->predicted.size());
    }
  }
  EXPECT_EQ(latencies, 4);
  EXPECT_EQ(accuracies, 2);
  EXPECT_EQ(predictions, 2);
}

TEST(Peers, ValuesComeThroughAFile) {
  // Two outputs, of one and of three numbers: 1, 2, 3, 4.
  const std::string writes =
      "*'\"op\":\"values\"'*) into=$(echo \"$line\" | sed 's/.*\"into\":\"\\([^\"]*\\)\".*/\\1/'); "
      "printf '\\000\\000\\200\\077\\000\\000\\000\\100\\000\\000\\100\\100\\000\\000\\200\\100' "
      ">\"$into\"; ";
  const PeerOptions options = {.engines = {"onnxruntime"}, .images = 8, .batch = 4};
  const PeerFiles files = files_for(options);
  const auto values = [&](const std::string& name, const std::string& counts) {
    const PeerPlace place = scripted(
        name, answer("open", R"({"version": "1"})") + writes + "echo '" + counts + "' ;;\n");
    auto peers = open_peers(place, files, kShape, options);
    EXPECT_TRUE(peers.ok() && peers->peers.size() == 1);
    return peer_values(peers->peers[0], files, 4, 0);
  };
  const auto good = values("values", R"({"counts": [1, 3]})");
  ASSERT_TRUE(good.ok()) << good.status().message();
  EXPECT_THAT(*good, testing::ElementsAre(testing::ElementsAre(1.0F),
                                          testing::ElementsAre(2.0F, 3.0F, 4.0F)));
  EXPECT_THAT(values("too-many", R"({"counts": [1, 4]})").status().message(),
              HasSubstr("as many elements as it counted"));
  EXPECT_THAT(values("too-few", R"({"counts": [1, 2]})").status().message(),
              HasSubstr("no more elements than it counted"));
  EXPECT_THAT(values("none", "{}").status().message(), HasSubstr("number of elements"));
}

}  // namespace
}  // namespace pare
