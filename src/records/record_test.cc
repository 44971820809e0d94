#include "records/record.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "records/schema.h"
#include "testing/files.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Json test_context() {
  return {{"processor", "Test CPU"},
          {"instruction_sets", "avx2"},
          {"version", "0.1.0"},
          {"commit", "abc"},
          {"date", "2026-01-02T03:04:05Z"}};
}

SizeRecord good_size() {
  SizeRecord size;
  size.id.model = "alexnet int8";
  size.id.net = "alexnet";
  size.id.variant = "int8";
  size.format = "pare";
  size.file_bytes = 19'700'000;
  size.parameters = 23'490'378;
  size.nonzero_parameters = 23'000'000;
  return size;
}

class RecordFileTest : public testing::Test {
 protected:
  RecordFileTest() { std::filesystem::remove(path_); }
  ~RecordFileTest() override { std::filesystem::remove(path_); }

  void put(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string get() const {
    std::stringstream text;
    text << std::ifstream(path_, std::ios::binary).rdbuf();
    return text.str();
  }

  const std::string path_ = testing::TempDir() + "/" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() +
                            ".jsonl";
};

// The line a script writes by hand, as docs/file-formats.md says, not by way of our writer.
constexpr const char* kSizeLine =
    R"({"kind":"size","context":{"processor":"P","instruction_sets":"avx2","version":"1","commit":"c",)"
    R"("date":"2026-01-02T03:04:05Z"},"model":"m","format":"onnx","file_bytes":12,"parameters":3})";

TEST_F(RecordFileTest, AppendedRecordsComeBackInOrder) {
  ASSERT_TRUE(append(path_, good_size(), test_context()).ok());
  StepRecord step;
  step.study = "default";
  step.step = "alexnet int8: size";
  step.status = "ran";
  step.cause = "no result yet";
  step.seconds = 0.25;
  ASSERT_TRUE(append(path_, step, test_context()).ok());

  const auto records = read_records(path_);
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records->size(), 2U);
  const auto size = from_record<SizeRecord>((*records)[0]);
  ASSERT_TRUE(size.ok()) << size.status().message();
  EXPECT_EQ(size->id.model, "alexnet int8");
  EXPECT_EQ(size->id.variant, "int8");
  EXPECT_EQ(size->file_bytes, 19'700'000);
  EXPECT_EQ(size->nonzero_parameters, 23'000'000);
  EXPECT_EQ(size->id.trained_on, "");
  EXPECT_EQ((*records)[0].context, test_context());
  const auto back = from_record<StepRecord>((*records)[1]);
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(back->seconds, 0.25);
  EXPECT_FALSE(from_record<SizeRecord>((*records)[1]).ok());
}

TEST_F(RecordFileTest, ReadsWhatAScriptWrote) {
  put(std::string(kSizeLine) + "\n");
  const auto records = read_records(path_);
  ASSERT_TRUE(records.ok()) << records.status().message();
  ASSERT_EQ(records->size(), 1U);
  EXPECT_EQ(from_record<SizeRecord>((*records)[0])->file_bytes, 12);
}

TEST_F(RecordFileTest, CutLastLineIsLeftOutWithAWarning) {
  put(std::string(kSizeLine) + "\n" + std::string(kSizeLine).substr(0, 70));
  std::vector<std::string> warnings;
  const auto records = read_records(path_, &warnings);
  ASSERT_TRUE(records.ok()) << records.status().message();
  EXPECT_EQ(records->size(), 1U);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0], HasSubstr(":2: the last line was cut short"));
}

TEST_F(RecordFileTest, AppendingAfterACutLineRemovesIt) {
  put(std::string(kSizeLine) + "\n" + std::string(kSizeLine).substr(0, 70));
  ASSERT_TRUE(append(path_, good_size(), test_context()).ok());
  std::vector<std::string> warnings;
  const auto records = read_records(path_, &warnings);
  ASSERT_TRUE(records.ok()) << records.status().message();
  EXPECT_EQ(records->size(), 2U);
  EXPECT_THAT(warnings, IsEmpty());
  // Nor does a file that is nothing but a cut line keep it.
  put("{\"kind\":");
  ASSERT_TRUE(append(path_, good_size(), test_context()).ok());
  EXPECT_EQ(read_records(path_)->size(), 1U);
}

TEST_F(RecordFileTest, BrokenLinesAreNamed) {
  const std::string good = std::string(kSizeLine) + "\n";
  const struct {
    std::string line;
    std::string message;
  } cases[] = {
      {"{\"kind\":\"si\n", ":2: not a line of JSON"},
      {"[1,2]\n", ":2: expected a JSON object"},
      {"{\"context\":{}}\n", ":2: field 'kind' is missing"},
      {"{\"kind\":\"size\"}\n", ":2: field 'context' must be an object"},
  };
  for (const auto& c : cases) {
    put(good + c.line + good);
    const auto records = read_records(path_);
    ASSERT_FALSE(records.ok()) << c.line;
    EXPECT_EQ(records.status().code(), StatusCode::kCorrupt);
    EXPECT_THAT(records.status().message(), HasSubstr(path_ + c.message));
  }
}

TEST_F(RecordFileTest, MissingFileIsNamed) {
  const auto records = read_records(path_);
  ASSERT_FALSE(records.ok());
  EXPECT_THAT(records.status().message(), HasSubstr(path_));
}

TEST_F(RecordFileTest, ARefusedRecordLeavesTheFileAlone) {
  put(std::string(kSizeLine) + "\n");
  SizeRecord size = good_size();
  size.file_bytes = -1;
  EXPECT_FALSE(append(path_, size, test_context()).ok());
  EXPECT_EQ(get(), std::string(kSizeLine) + "\n");
}

// A field wrong in each way that the checks know.
TEST(RecordSchemaTest, WrongFieldsAreNamed) {
  const Record good = *to_record(good_size(), test_context());
  ASSERT_TRUE(check_record(good).ok());
  const struct {
    const char* field;
    Json value;
    const char* message;
  } cases[] = {
      {"file_bytes", -5, "field 'file_bytes' must be a whole number of at least 0, found -5"},
      {"file_bytes", 1.5, "field 'file_bytes' must be a whole number"},
      {"file_bytes", 18446744073709551615ULL, "field 'file_bytes' must be a whole number"},
      {"file_bytes", 0, "field 'file_bytes' must be at least 1"},
      {"model", 7, "field 'model' must be a string"},
      {"model", "", "field 'model' is empty"},
      {"nonzero_parameters", "many", "field 'nonzero_parameters' must be"},
      {"nonzero_parameters", 23'490'379, "23490379 non-zero of 23490378 parameters"},
  };
  for (const auto& c : cases) {
    Record record = good;
    record.fields[c.field] = c.value;
    const Status status = check_record(record);
    EXPECT_EQ(status.code(), StatusCode::kCorrupt) << c.message;
    EXPECT_THAT(status.message(), HasSubstr(c.message));
  }
  for (const char* field : {"model", "format", "file_bytes", "parameters"}) {
    Record record = good;
    record.fields.erase(field);
    EXPECT_THAT(check_record(record).message(),
                HasSubstr(std::string("field '") + field + "' is missing"));
  }
  Record optional = good;
  optional.fields.erase("nonzero_parameters");
  optional.fields["something_new"] = {1, 2};
  EXPECT_TRUE(check_record(optional).ok());
}

TEST(RecordSchemaTest, AForgottenFieldIsNamed) {
  LatencyRecord latency;
  latency.id.model = "m";
  latency.engine = "pare";
  latency.precision = "float32";
  latency.batch = 1;
  latency.threads = 2;
  latency.runs = 10;
  latency.latency_us_p50 = 10;
  latency.latency_us_p90 = 20;
  latency.images_per_s = 100'000;
  latency.peak_bytes = 5;
  latency.images = 256;
  latency.data = "d";
  EXPECT_THAT(to_record(latency, test_context()).status().message(),
              HasSubstr("latency record: field 'latency_us_p99' is missing"));
  latency.latency_us_p99 = 30;
  EXPECT_TRUE(to_record(latency, test_context()).ok());
  latency.latency_us_p99 = 15;
  EXPECT_THAT(to_record(latency, test_context()).status().message(), HasSubstr("p90 <= p99"));
  latency.latency_us_p99 = INFINITY;
  EXPECT_FALSE(to_record(latency, test_context()).ok());
}

TEST(RecordSchemaTest, AccuracyMustAgreeWithItself) {
  AccuracyRecord accuracy;
  accuracy.id.model = "m";
  accuracy.engine = "pare";
  accuracy.precision = "float32";
  accuracy.data = "d";
  accuracy.images = 10;
  accuracy.top1 = 80;
  accuracy.top1_low = 49;
  accuracy.top1_high = 94;
  accuracy.top5 = 100;
  accuracy.classes = {"a", "b"};
  accuracy.class_images = {5, 5};
  accuracy.class_correct = {5, 3};
  EXPECT_TRUE(to_record(accuracy, test_context()).ok());
  AccuracyRecord wrong = accuracy;
  wrong.top5 = 101;
  EXPECT_THAT(to_record(wrong, test_context()).status().message(),
              HasSubstr("'top5' must be a percentage"));
  wrong = accuracy;
  wrong.top1_high = 70;
  EXPECT_THAT(to_record(wrong, test_context()).status().message(),
              HasSubstr("outside its interval"));
  wrong = accuracy;
  wrong.class_correct = {5, 6};
  EXPECT_THAT(to_record(wrong, test_context()).status().message(),
              HasSubstr("class 1: 6 correct of 5"));
  wrong = accuracy;
  wrong.class_images = {5};
  EXPECT_THAT(to_record(wrong, test_context()).status().message(),
              HasSubstr("1 entries for 2 classes"));
}

TEST(RecordSchemaTest, PredictionsStayWithinTheClasses) {
  PredictionsRecord predictions;
  predictions.id.model = "m";
  predictions.engine = "pare";
  predictions.precision = "int8";
  predictions.data = "d";
  predictions.data_hash = "h";
  predictions.classes = {"a", "b", "c"};
  predictions.labels = {0, 1, 2};
  predictions.predicted = {0, 1, 1};
  EXPECT_TRUE(to_record(predictions, test_context()).ok());
  predictions.predicted[2] = 3;
  EXPECT_THAT(to_record(predictions, test_context()).status().message(), HasSubstr("image 2"));
  predictions.predicted = {0, 1};
  EXPECT_THAT(to_record(predictions, test_context()).status().message(),
              HasSubstr("3 labels but 2"));
}

TEST(RecordSchemaTest, ImagesAreBase64AndNothingElse) {
  ImageRecord image{.data_hash = "h", .index = 3, .png_base64 = "iVBORw0KGgoAAAA="};
  EXPECT_TRUE(to_record(image, test_context()).ok());
  image.png_base64 = "iVBORw0KGgo\" onerror=\"alert(1)";
  EXPECT_FALSE(to_record(image, test_context()).ok());
  image.png_base64 = "PHN2Zz4=";
  EXPECT_FALSE(to_record(image, test_context()).ok());
}

TEST(RecordSchemaTest, TextThatIsNotUtf8IsWrittenAllTheSame) {
  SizeRecord size = good_size();
  size.id.model = "bad \xff name";
  const auto record = to_record(size, test_context());
  ASSERT_TRUE(record.ok());
  const auto back = parse_record(record_line(*record), "line");
  ASSERT_TRUE(back.ok()) << back.status().message();
  EXPECT_EQ(from_record<SizeRecord>(*back)->id.model, "bad \xEF\xBF\xBD name");
}

TEST(RecordSchemaTest, CurrentContextPassesTheCheck) {
  const Json context = current_context();
  EXPECT_TRUE(to_record(good_size(), context).ok());
  EXPECT_GE(context["cores"].get<int>(), 1);
  EXPECT_THAT(context["date"].get<std::string>(), testing::MatchesRegex("....-..-..T..:..:..Z"));
}

// Every kind and every field stands in the documentation, under its kind's heading.
TEST(RecordSchemaTest, TheDocumentationListsEveryField) {
  std::stringstream text;
  text << std::ifstream(testing_files::source_path("docs/file-formats.md")).rdbuf();
  const std::string docs = text.str();
  const size_t shared = docs.find("The kinds `accuracy`");
  ASSERT_NE(shared, std::string::npos);
  const std::string identity = docs.substr(shared, docs.find("### ", shared) - shared);
  EXPECT_THAT(record_kinds(), ElementsAre("accuracy", "predictions", "latency", "size", "epoch",
                                          "layer", "ceilings", "step", "image"));
  for (const std::string& kind : record_kinds()) {
    const size_t heading = docs.find("### " + kind + "\n");
    ASSERT_NE(heading, std::string::npos) << kind;
    const std::string part = docs.substr(heading, docs.find("\n#", heading + 4) - heading);
    for (const std::string& field : field_names(kind)) {
      const auto has = [&field](const std::string& in) {
        std::stringstream lines(in);
        for (std::string line; std::getline(lines, line);) {
          const std::string cell = line.substr(0, line.find('|', 1));
          if (line.starts_with("| ") && (" " + cell + " ").find(" " + field) != std::string::npos)
            return true;
        }
        return false;
      };
      const bool in_identity = kind != "epoch" && kind != "ceilings" && kind != "step" &&
                               kind != "image" && has(identity);
      EXPECT_TRUE(has(part) || in_identity) << kind << "." << field;
    }
  }
  EXPECT_TRUE(field_names("nonsense").empty());
}

}  // namespace
}  // namespace pare
