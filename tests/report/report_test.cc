#include "report/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>

#include "report/facts.h"
#include "report/format.h"
#include "report/html.h"
#include "tests/report/fixture.h"

namespace pare {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// Like HasSubstr, but says no more than what is missing: a report is a long text.
MATCHER_P(Has, text, std::string(negation ? "lacks " : "has ") + text) {
  *result_listener << "which is a page of " << arg.size() << " bytes";
  return arg.find(text) != std::string::npos;
}
struct Page {
  std::string text;
  size_t size() const { return text.size(); }
  size_t find(const std::string& what, size_t from = 0) const { return text.find(what, from); }
  Page substr(size_t begin, size_t count) const { return {text.substr(begin, count)}; }
};
void PrintTo(const Page& page, std::ostream* out) { *out << page.size() << " bytes"; }

Page whole_report() {
  const auto html = make_html_report(report_fixture::whole_study());
  EXPECT_TRUE(html.ok()) << html.status().message();
  return {html.ok() ? *html : ""};
}

TEST(ReportFactsTest, ComparisonsAreThoseCountedByHand) {
  const auto facts = gather_facts(report_fixture::small_study());
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  ASSERT_EQ(facts->groups.size(), 1U);
  const Group& group = facts->groups[0];
  ASSERT_EQ(group.models.size(), 2U);
  EXPECT_EQ(group.base().id.variant, "fp32");
  EXPECT_DOUBLE_EQ(group.base().accuracy()->top1, 90.0);
  const Comparison& c = group.models[1].against_baseline;
  EXPECT_NEAR(*c.top1_change, -5.0, 1e-9);
  EXPECT_NEAR(*c.flips, 15.0, 1e-9);
  // Two lost, one gained: 2 * (C(3,0) + C(3,1)) / 2^3 = 1.
  EXPECT_NEAR(*c.mcnemar_p, 1.0, 1e-12);
  ASSERT_EQ(c.class_changes.size(), 2U);
  EXPECT_NEAR(c.class_changes[0], -10.0, 1e-9);  // ten images: one gained, two lost
  EXPECT_NEAR(c.class_changes[1], 0.0, 1e-9);
  EXPECT_NEAR(*c.smaller, 5.0, 1e-12);
  EXPECT_NEAR(*group.speedup(group.models[1], 1, 2), 4.0, 1e-12);
  EXPECT_FALSE(group.speedup(group.models[1], 64, 2).has_value());
}

TEST(ReportFactsTest, PredictionsOfOtherImagesAreNotCompared) {
  std::vector<Record> records = report_fixture::small_study();
  for (Record& r : records) {
    if (r.kind == "predictions" && r.fields["variant"] == "int8") r.fields["data_hash"] = "other";
  }
  const auto facts = gather_facts(records);
  ASSERT_TRUE(facts.ok());
  const Comparison& c = facts->groups[0].models[1].against_baseline;
  EXPECT_FALSE(c.flips.has_value());
  EXPECT_FALSE(c.mcnemar_p.has_value());
  EXPECT_NEAR(*c.top1_change, -5.0, 1e-9);
}

// Records can be made by hand: the same images, but classes that the baseline does not have.
TEST(ReportFactsTest, PredictionsOfOtherClassesAreNotCompared) {
  std::vector<Record> records = report_fixture::whole_study();
  for (Record& r : records) {
    if (r.kind != "predictions" || r.fields["variant"] == "fp32") continue;
    r.fields["classes"].push_back("one more");
    for (auto& answer : r.fields["predicted"]) answer = r.fields["classes"].size() - 1;
  }
  const auto facts = gather_facts(records);
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  for (const ModelFacts& model : facts->groups[0].models) {
    if (&model != &facts->groups[0].base()) {
      EXPECT_FALSE(model.against_baseline.flips.has_value());
    }
  }
  EXPECT_TRUE(make_html_report(records).ok());
}

TEST(ReportFactsTest, TheLastOfTwoRecordsCounts) {
  std::vector<Record> records = report_fixture::small_study();
  for (size_t i = 0; i < records.size(); ++i) {
    if (records[i].kind != "latency" || records[i].fields["variant"] != "fp32") continue;
    Record again = records[i];
    again.fields["latency_us_p50"] = 500;
    records.push_back(again);
    break;
  }
  const auto facts = gather_facts(records);
  ASSERT_TRUE(facts.ok());
  EXPECT_NEAR(*facts->groups[0].speedup(facts->groups[0].models[1], 1, 2), 2.0, 1e-12);
}

TEST(ReportFactsTest, NetsTrainedOnOtherDataStandApart) {
  const auto facts = gather_facts(report_fixture::whole_study());
  ASSERT_TRUE(facts.ok());
  ASSERT_EQ(facts->groups.size(), 4U);
  EXPECT_EQ(facts->groups[0].models.size(), 9U);
  EXPECT_EQ(facts->groups[1].models.size(), 1U);
  EXPECT_THAT(facts->groups[1].title(), HasSubstr("5,000 built-in"));
}

TEST(ReportFactsTest, ARecordOutsideTheSchemaIsRefused) {
  std::vector<Record> records = report_fixture::small_study();
  records[0].fields["top1"] = 101;
  EXPECT_EQ(gather_facts(records).status().code(), StatusCode::kCorrupt);
  EXPECT_FALSE(make_html_report(records).ok());
  EXPECT_FALSE(make_text_tables(records).ok());
}

TEST(ParetoFrontTest, KeepsWhatNothingBeats) {
  // (1, 5) and (3, 9) stand; (2, 5) is beaten by (1, 5), (4, 9) by (3, 9), (5, 1) by all.
  EXPECT_THAT(pareto_front({{5, 1}, {3, 9}, {2, 5}, {1, 5}, {4, 9}}), ElementsAre(3U, 1U));
  EXPECT_THAT(pareto_front({{1, 1}, {1, 1}}), ElementsAre(0U, 1U));  // twins do not beat each other
  EXPECT_THAT(pareto_front({}), ElementsAre());
}

TEST(ReportFormatTest, FiguresAreWrittenAsPeopleReadThem) {
  EXPECT_EQ(percent_text(92.06), "92.06 %");
  EXPECT_EQ(points_text(-0.05), "−0.05");
  EXPECT_EQ(points_text(0.1), "+0.10");
  EXPECT_EQ(points_text(-0.001), "0.00");
  EXPECT_EQ(bytes_text(93'961'512), "93.96 MB");
  EXPECT_EQ(bytes_text(4'100), "4.1 kB");
  EXPECT_EQ(bytes_text(12), "12 bytes");
  EXPECT_EQ(duration_text(4350), "4.35 ms");
  EXPECT_EQ(duration_text(87), "87.0 µs");
  EXPECT_EQ(duration_text(1'200'000), "1.20 s");
  EXPECT_EQ(seconds_text(8.24), "8.24 s");
  EXPECT_EQ(seconds_text(125), "2 min 5 s");
  EXPECT_EQ(factor_text(4.77), "4.77×");
  EXPECT_EQ(factor_text(27.6), "27.6×");
  EXPECT_EQ(count_text(23'490'378), "23,490,378");
  EXPECT_EQ(count_text(999), "999");
  EXPECT_EQ(p_value_text(0.0001), "p < 0.001");
  EXPECT_EQ(p_value_text(0.042), "p = 0.042");
  EXPECT_EQ(p_value_text(0.53), "p = 0.53");
  EXPECT_EQ(ascii("−1 × 2 µs \x1b[31m"), "-1 x 2 us ?[31m");
}

TEST(ReportHtmlTest, NothingFromOutsideBecomesMarkup) {
  EXPECT_EQ(escape_html("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
  EXPECT_EQ(escape_html("Zürich 猫 😀"), "Zürich 猫 😀");
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(escape_html("a\xff"
                        "b"),
            "a" + bad + "b");
  EXPECT_EQ(escape_html("\xc0\xbcscript"), bad + bad + "script");  // an overlong "<"
  EXPECT_EQ(escape_html("\xed\xa0\x80"), bad + bad + bad);         // a surrogate
  EXPECT_EQ(escape_html("x\xe2\x82"), "x" + bad + bad);            // cut short
  EXPECT_EQ(escape_html(std::string("a\0b\x1b", 4)), "a" + bad + "b" + bad);
  EXPECT_THAT(script_json({{"k", "</script><!--&"}}), Not(HasSubstr("<")));
  EXPECT_EQ(nlohmann::json::parse(script_json({{"k", "</script><!--&"}}))["k"], "</script><!--&");
}

TEST(ReportTest, HasEverySection) {
  const Page html = whole_report();
#define PARE_SECTION(name, title) EXPECT_THAT(html, Has("<section id=\"" #name "\">"));
#include "report/sections.inc"
#undef PARE_SECTION
}

TEST(ReportTest, LayersStandUnderTheRoof) {
  const Page html = whole_report();
  EXPECT_THAT(html, Has("int8, batch 1 on 2 threads"));
  EXPECT_THAT(html, Has("50 %<small>of 60.0 µs, by compute</small>"));
  EXPECT_THAT(html, Has("1.75×<small>predicted 2.00×</small>"));
  EXPECT_THAT(html, Has("as many bytes &amp; operations as &lt;before&gt;"));
  const size_t at = html.find("\"type\":\"roofline\"");
  ASSERT_NE(at, std::string::npos);
  const size_t begin = html.text.rfind('>', at) + 1;
  const auto spec = nlohmann::json::parse(html.text.substr(begin, html.text.find('<', at) - begin));
  const auto& view = spec["views"][0];
  ASSERT_EQ(view["points"].size(), 2U);  // pooling multiplies nothing
  EXPECT_NEAR(view["points"][0]["x"].get<double>(), 11'243'520 / 126'000.0, 1e-9);
  EXPECT_NEAR(view["points"][0]["y"].get<double>(), 11'243'520 / 120.0 / 1e3, 1e-9);
  // 20 GB/s from half of the dense layer's 0.25 a byte up to 220 GMAC/s; both peaks on a level.
  const double low = 4'194'304 / 16'800'000.0 / 2;
  const auto& memory = view["roofs"][0]["points"];
  EXPECT_NEAR(memory[0][0].get<double>(), low, 1e-12);
  EXPECT_NEAR(memory[0][1].get<double>(), low * 20, 1e-9);
  EXPECT_NEAR(memory[1][0].get<double>(), 11, 1e-9);
  EXPECT_NEAR(memory[1][1].get<double>(), 220, 1e-9);
  ASSERT_EQ(view["roofs"].size(), 5U);
  EXPECT_EQ(view["roofs"][2]["label"], "float32, 110 GMAC/s");
  EXPECT_EQ(view["roofs"][3]["points"][1][1], 220.0);
  EXPECT_EQ(view["roofs"][4]["label"], "pruned float32, 30 GMAC/s");
}

TEST(ReportTest, GainsOfLayersFollowFromTheBaseline) {
  std::vector<Record> records;
  const auto put_layer = [&records](const std::string& variant, const std::string& operation,
                                    double time, double limit) {
    LayerRecord layer;
    layer.id.model = layer.id.net = "net";
    layer.id.variant = variant;
    layer.name = "conv1";
    layer.operation = operation;
    layer.latency_us = time;
    layer.limit_us = limit;
    layer.batch = 1;
    layer.threads = 2;
    auto record = to_record(layer, report_fixture::whole_study()[0].context);
    ASSERT_TRUE(record.ok()) << record.status().message();
    records.push_back(*std::move(record));
  };
  put_layer("fp32", "copy to another memory order", 9, 3);
  put_layer("fp32", "Conv + Relu", 100, 50);
  put_layer("int8", "Conv + Relu + QuantizeLinear", 40, 10);
  const auto facts = gather_facts(records);
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  const ModelFacts& base = facts->groups[0].models[0];
  ASSERT_EQ(base.layers.size(), 2U);  // one name, two steps
  EXPECT_FALSE(base.layers[1].measured_gain.has_value());
  const LayerRecord& layer = facts->groups[0].models[1].layers[0];
  EXPECT_DOUBLE_EQ(layer.measured_gain.value_or(0), 2.5);
  EXPECT_DOUBLE_EQ(layer.predicted_gain.value_or(0), 5);
}

TEST(ReportTest, FetchesNothing) {
  const Page html = whole_report();
  const std::string page =
      html.text.substr(0, html.find("<script>"));  // what follows is our own and Chart.js
  const std::regex loading(R"((src|href)="([^"]*)\")");
  int found = 0;
  for (std::sregex_iterator it(page.begin(), page.end(), loading), end; it != end; ++it, ++found) {
    const std::string target = (*it)[2];
    EXPECT_TRUE(target.starts_with("#") || target.starts_with("data:image/png;base64,")) << target;
  }
  EXPECT_GT(found, 10);
  EXPECT_THAT(Page{page}, Has("default-src 'none'"));
}

TEST(ReportTest, HostileNamesStayText) {
  const Page html = whole_report();
  EXPECT_THAT(html, Not(Has("<img src=x")));
  EXPECT_THAT(html, Not(Has("<script>document")));
  EXPECT_THAT(html, Not(Has("<b>dog</b>")));
  EXPECT_THAT(html, Not(Has("<b>9000</b>")));
  EXPECT_THAT(html, Has("cat &amp; &lt;b&gt;dog&lt;/b&gt;"));
}

TEST(ReportTest, SaysWhatWasTrainedOnLittleData) {
  const Page html = whole_report();
  for (const char* section : {"summary", "tradeoff", "training", "seed", "setup"}) {
    const size_t begin = html.find(std::string("<section id=\"") + section + "\">");
    ASSERT_NE(begin, std::string::npos);
    EXPECT_THAT(html.substr(begin, html.find("</section>", begin) - begin),
                Has("5,000 built-in training images"))
        << section;
  }
}

TEST(ReportTest, SentencesAreComputedFromTheRecords) {
  const auto html = make_html_report(report_fixture::small_study());
  ASSERT_TRUE(html.ok());
  EXPECT_THAT(Page{*html}, Has("0.80 MB as .pare instead of 4.00 MB as .onnx"));
  EXPECT_THAT(Page{*html}, Has("5.00× smaller"));
  EXPECT_THAT(Page{*html}, Has("4.00× faster, 250 µs instead of 1.00 ms"));
  EXPECT_THAT(Page{*html}, Has("Top-1 is 85.00 % against 90.00 % (−5.00 points"));
  EXPECT_THAT(Page{*html}, Has("chance alone could make (McNemar p = 1.00)"));
  EXPECT_THAT(
      *html,
      Has("15.00 % of the answers differ. The class that loses most is yes: −10.00 points."));
}

TEST(ReportTest, ProcessorAndGpuStandInOneChart) {
  std::vector<Record> records = report_fixture::small_study();
  const auto first = std::find_if(records.begin(), records.end(),
                                  [](const Record& r) { return r.kind == "latency"; });
  ASSERT_NE(first, records.end());
  const Record on_processor = *first;
  for (const char* precision : {"float32", "float16"}) {
    Record on_gpu = on_processor;
    on_gpu.fields["device"] = "cuda";
    on_gpu.fields["precision"] = precision;
    on_gpu.fields["latency_us_p50"] = 20;
    records.push_back(on_gpu);
  }
  const auto facts = gather_facts(records);
  ASSERT_TRUE(facts.ok()) << facts.status().message();
  // The processor's times are what they were.
  EXPECT_NEAR(*facts->groups[0].speedup(facts->groups[0].models[1], 1, 2), 4.0, 1e-12);
  const Page html{*make_html_report(records)};
  EXPECT_THAT(html, Has("batch 1, all devices"));
  EXPECT_THAT(html, Has("on cuda, float16"));
}

TEST(ReportTest, ABaselineThatPacksWellIsExplained) {
  std::vector<Record> records = report_fixture::small_study();
  EXPECT_THAT(Page{*make_html_report(records)}, Not(Has("The baseline itself takes")));
  SizeRecord size{.format = "pare", .file_bytes = 1'000'000, .parameters = 1'000'000};
  size.id = {
      .model = "net fp32", .model_hash = "", .net = "net", .variant = "fp32", .trained_on = ""};
  records.push_back(*to_record(size, records[0].context));
  EXPECT_THAT(Page{*make_html_report(records)},
              Has("The baseline itself takes 1.00 MB as .pare, 4.00× less than as .onnx"));
}

TEST(ReportTest, ThePublishedFiguresStandBesideOurs) {
  const Page html = whole_report();
  for (const char* text : {"53.86 %", "89.49 %", "72.68 ms", "18.78 %", "76.01 %", "1 min 26 s",
                           "Tesla K80 in Colab", "what it covers is not said"}) {
    EXPECT_THAT(html, Has(text));
  }
}

TEST(ReportTest, NoRecordsMakeAnEmptyReport) {
  const auto html = make_html_report({});
  ASSERT_TRUE(html.ok());
  EXPECT_THAT(Page{*html}, Has("The records hold nothing to show."));
}

TEST(TextTablesTest, ShowTheTradeOff) {
  const auto tables = make_text_tables(report_fixture::small_study());
  ASSERT_TRUE(tables.ok());
  EXPECT_THAT(*tables, HasSubstr("net\nvariant"));
  EXPECT_THAT(*tables,
              testing::ContainsRegex("int8 +85\\.00 \\([0-9.]+-[0-9.]+\\) +-5\\.00 +1\\.000 "
                                     "+15\\.00 +0\\.80 MB +5\\.00x +250 us +4\\.00x"));
  for (const char c : *tables) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f));
}

TEST(TextTablesTest, ANameDoesNotSteerTheTerminal) {
  std::vector<Record> records = report_fixture::small_study();
  for (Record& r : records) {
    if (r.fields.contains("net")) r.fields["net"] = "\x1b[2Jnet";
  }
  const auto tables = make_text_tables(records);
  ASSERT_TRUE(tables.ok());
  EXPECT_THAT(*tables, HasSubstr("?[2Jnet\n"));
  EXPECT_EQ(tables->find('\x1b'), std::string::npos);
}

}  // namespace
}  // namespace pare
