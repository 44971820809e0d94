// The likeliest class of an image that is in memory, by pare::Session.
//   classify MODEL.pare IMAGE.ppm      (a binary PPM of the size that the model wants)
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

#include <pare/session.h>

// A P6 file's pixels as planes of red, green and blue; empty unless it is of this size.
static std::vector<uint8_t> read_planes(const char* path, int64_t height, int64_t width) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t w = 0;
  int64_t h = 0;
  int maximum = 0;
  file >> magic >> w >> h >> maximum;
  if (magic != "P6" || w != width || h != height || maximum != 255) return {};
  file.get();
  std::vector<uint8_t> rgb(static_cast<size_t>(3 * h * w));
  file.read(reinterpret_cast<char*>(rgb.data()), static_cast<std::streamsize>(rgb.size()));
  if (!file) return {};
  std::vector<uint8_t> planes(rgb.size());
  const size_t area = rgb.size() / 3;
  for (size_t i = 0; i < rgb.size(); ++i) planes[i % 3 * area + i / 3] = rgb[i];
  return planes;
}

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: classify MODEL.pare IMAGE.ppm\n");
    return 2;
  }
  pare::Result<pare::Session> session = pare::Session::load(argv[1], {.threads = 2});
  if (!session.ok()) {
    std::fprintf(stderr, "%s\n", session.status().message().c_str());
    return 1;
  }
  const pare::ModelInfo& info = session->info();
  const std::vector<uint8_t> pixels = read_planes(argv[2], info.height, info.width);
  if (pixels.empty()) {
    std::fprintf(stderr, "%s: expected a binary PPM of %dx%d\n", argv[2],
                 static_cast<int>(info.width), static_cast<int>(info.height));
    return 1;
  }
  std::vector<float> scores(static_cast<size_t>(info.class_count));
  const pare::Status status = session->run(pixels, 1, scores);
  if (!status.ok()) {
    std::fprintf(stderr, "%s\n", status.message().c_str());
    return 1;
  }
  const auto best = std::max_element(scores.begin(), scores.end()) - scores.begin();
  const std::string name =
      info.classes.empty() ? std::to_string(best) : info.classes[static_cast<size_t>(best)];
  std::printf("%s\n", name.c_str());
  return 0;
}
