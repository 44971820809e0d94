// Opens a report in headless Chromium and looks: are the charts drawn, does nothing overflow, is
// the console silent? Needs `chromium` in the PATH and is skipped, with a word, without it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/file.h"
#include "report/report.h"
#include "testing/files.h"
#include "tests/report/fixture.h"

namespace pare {
namespace {

using testing::HasSubstr;
using testing::Not;

// Runs after the page's own script: counts canvases and those with anything on them, presses the
// keys and buttons, and leaves what it saw as text. It looks at pixels, not at the page's word.
constexpr const char* kProbe = R"js(
<pre id="probe"></pre><script>
addEventListener('error', (e) => { document.documentElement.dataset.error = e.message; });
const scratch = document.createElement('canvas');
const pixels = scratch.getContext('2d', { willReadFrequently: true });
const inked = (canvas) => {
  scratch.width = canvas.width;
  scratch.height = canvas.height;
  pixels.drawImage(canvas, 0, 0);
  const { data } = pixels.getImageData(0, 0, scratch.width, scratch.height);
  let n = 0;
  for (let i = 3; i < data.length; i += 4) n += data[i] > 0;
  return n;
};
addEventListener('load', () => setTimeout(() => {
  const out = [];
  const charts = [...document.querySelectorAll('figure.chart')];
  out.push('charts ' + charts.length);
  out.push('blank ' + charts.filter((c) => inked(c.querySelector('canvas')) < 2000).length);
  out.push('points ' + charts.map((c) => c.querySelector('canvas').dataset.drawn).join(','));
  const first = charts[0].querySelector('canvas');
  const before = first.toDataURL();
  first.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
  out.push('read ' + charts[0].querySelector('.read-out').textContent);
  out.push('tooltip ' + (first.toDataURL() !== before));
  charts[0].querySelectorAll('button')[1].click();
  out.push('second view ' + (first.toDataURL() !== before && inked(first) >= 2000));
  const chooser = document.querySelector('.chooser');
  const shown = () => [...chooser.querySelectorAll('.option')].filter((o) => !o.hidden).map((o) => o.dataset.name).join();
  out.push('chooser ' + shown());
  chooser.querySelectorAll('button')[3].click();
  out.push('chosen ' + shown());
  out.push('images ' + [...document.images].filter((i) => i.complete && i.naturalWidth > 0).length + ' of ' + document.images.length);
  out.push('overflow ' + Math.max(0, document.documentElement.scrollWidth - document.documentElement.clientWidth));
  const frames = '.table-frame, .read-out';
  const wide = [...document.body.querySelectorAll('*')].filter((e) => !e.closest(frames) && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1);
  out.push('wide ' + wide.slice(0, 4).map((e) => e.tagName + '.' + e.className).join(' '));
  out.push('broken ' + (document.documentElement.dataset.broken || 'no') + ' ' + (document.documentElement.dataset.error || ''));
  const text = out.join('\n') + '\nend';
  document.getElementById('probe').textContent = text;
  parent.postMessage(text, '*');
}, 50));
</script></body>)js";

// A browser's window is never as narrow as a phone; a frame can be. The page within reports to
// here.
constexpr const char* kPhone = R"html(<!doctype html><pre id="probe"></pre>
<iframe src="report.html" width="390" height="800"></iframe><script>
addEventListener('message', (e) => { document.getElementById('probe').textContent = e.data; });
</script>)html";
constexpr int kPhoneWidth = 390;

struct Seen {
  std::string dom;
  std::string console;
};

class BrowserTest : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (std::system("command -v chromium >/dev/null 2>&1") != 0)
      GTEST_SKIP() << "no chromium in the PATH";
  }

  Seen open(const std::string& html, int width) {
    std::string page = html;
    const size_t end = page.rfind("</body>");
    EXPECT_NE(end, std::string::npos);
    page.replace(end, 7, kProbe);
    EXPECT_TRUE(write_file(folder_.path("report.html"), page).ok());
    EXPECT_TRUE(write_file(folder_.path("phone.html"), std::string_view(kPhone)).ok());
    // The sandbox needs rights that containers and root lack; the page is our own.
    const std::string command =
        "HOME=" + folder_.path() +
        " timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage"
        " --no-first-run --user-data-dir=" +
        folder_.path("profile") +
        " --enable-logging=stderr --v=0"
        " --virtual-time-budget=4000 --window-size=" +
        std::to_string(width) + ",900 --dump-dom file://" +
        folder_.path(width == kPhoneWidth ? "phone.html" : "report.html") + " 2>" +
        folder_.path("log");
    Seen seen;
    FILE* pipe = ::popen(command.c_str(), "r");
    EXPECT_NE(pipe, nullptr);
    if (pipe == nullptr) return seen;
    std::array<char, 65536> block{};
    for (size_t n = 0; (n = std::fread(block.data(), 1, block.size(), pipe)) > 0;)
      seen.dom.append(block.data(), n);
    EXPECT_EQ(::pclose(pipe), 0);
    const auto log = read_text_file(folder_.path("log"));
    EXPECT_TRUE(log.ok());
    if (log.ok()) {
      size_t begin = 0;
      for (size_t at = 0; (at = log->find('\n', begin)) != std::string::npos; begin = at + 1) {
        const std::string line = log->substr(begin, at - begin);
        if (line.find("CONSOLE") != std::string::npos) seen.console += line + "\n";
      }
    }
    return seen;
  }

  testing_files::TemporaryFolder folder_;
};

std::string probe_text(const std::string& dom) {
  const size_t begin = dom.find("<pre id=\"probe\">");
  return begin == std::string::npos ? "" : dom.substr(begin, dom.find("</pre>", begin) - begin);
}

TEST_P(BrowserTest, DrawsItsChartsAndKeepsWithinThePage) {
  const auto html = make_html_report(report_fixture::whole_study());
  ASSERT_TRUE(html.ok());
  const Seen seen = open(*html, GetParam());
  const std::string probe = probe_text(seen.dom);
  EXPECT_EQ(seen.console, "");
  ASSERT_THAT(probe, HasSubstr("\nend")) << "the page's script did not finish";
  EXPECT_THAT(probe,
              HasSubstr("charts 8\n"));  // two groups of variants, the training curves, two roofs
  EXPECT_THAT(probe, HasSubstr("blank 0\n"));
  EXPECT_THAT(probe, Not(HasSubstr("points 0")));
  EXPECT_THAT(probe, testing::ContainsRegex("read prune:0.5\\+int8\\. top-1"));  // the fastest
  EXPECT_THAT(probe, HasSubstr("tooltip true\n"));
  EXPECT_THAT(probe, HasSubstr("second view true\n"));
  EXPECT_THAT(probe, HasSubstr("chooser fp32\n"));
  EXPECT_THAT(probe, HasSubstr("chosen int8\n"));
  EXPECT_THAT(probe, testing::ContainsRegex("images ([1-9][0-9]*) of "));
  EXPECT_THAT(probe, HasSubstr("overflow 0\nwide \n"));
  EXPECT_THAT(probe, HasSubstr("broken no \n"));
}

// The test above must be able to fail.
TEST_F(BrowserTest, NoticesAScriptThatFails) {
  auto html = make_html_report(report_fixture::small_study());
  ASSERT_TRUE(html.ok());
  html->replace(html->rfind("drawAll();"), 10, "noSuch(); ");
  EXPECT_THAT(open(*html, 1280).console, HasSubstr("noSuch is not defined"));
}

INSTANTIATE_TEST_SUITE_P(Widths, BrowserTest, testing::Values(1280, kPhoneWidth));

}  // namespace
}  // namespace pare
