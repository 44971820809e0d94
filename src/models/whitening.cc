#include "models/whitening.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "base/thread_pool.h"

namespace pare {
namespace {

constexpr double kEpsilon =
    5e-4;  // Jordan's: about the smallest variance of CIFAR-10's 2×2 patches
constexpr int64_t kImagesPerTask = 64;

using Matrix = std::vector<std::vector<double>>;

// Sums of pixels and of products of pixels over all patches, exact.
struct Moments {
  int64_t patches = 0;
  std::vector<int64_t> sums;      // [d]
  std::vector<int64_t> products;  // [d, d], the upper triangle

  explicit Moments(size_t d) : sums(d), products(d * d) {}
};

struct Patch {
  int64_t channels, kernel;

  size_t size() const { return static_cast<size_t>(channels * kernel * kernel); }
  // Where element `i` of a patch lies, from the patch's first pixel.
  int64_t offset(size_t i, const WhiteningImages& images) const {
    const auto n = static_cast<int64_t>(i);
    const int64_t channel = n / (kernel * kernel);
    const int64_t y = n / kernel % kernel;
    return (channel * images.height + y) * images.width + n % kernel;
  }
};

// One image's patches. A row of products of bytes fits 32 bits up to 66,000 columns.
void add_image(const WhiteningImages& images, const Patch& patch, const uint8_t* image,
               Moments& moments) {
  const int64_t rows = images.height - patch.kernel + 1;
  const int64_t columns = images.width - patch.kernel + 1;
  const size_t d = patch.size();
  for (int64_t y = 0; y < rows; ++y) {
    const uint8_t* row = image + y * images.width;
    for (size_t i = 0; i < d; ++i) {
      const uint8_t* a = row + patch.offset(i, images);
      uint32_t sum = 0;
      for (int64_t x = 0; x < columns; ++x) sum += a[x];
      moments.sums[i] += sum;
      for (size_t j = i; j < d; ++j) {
        const uint8_t* b = row + patch.offset(j, images);
        uint32_t product = 0;
        for (int64_t x = 0; x < columns; ++x) product += static_cast<uint32_t>(a[x]) * b[x];
        moments.products[i * d + j] += product;
      }
    }
  }
  moments.patches += rows * columns;
}

Moments measure(const WhiteningImages& images, const Patch& patch) {
  const int64_t tasks = (images.count + kImagesPerTask - 1) / kImagesPerTask;
  const int64_t image_size = images.channels * images.height * images.width;
  std::vector<Moments> parts(static_cast<size_t>(tasks), Moments(patch.size()));
  ThreadPool pool(static_cast<int>(std::min<int64_t>(tasks, available_cores())));
  pool.run(tasks, [&](int64_t task, int) {
    const int64_t end = std::min(images.count, (task + 1) * kImagesPerTask);
    for (int64_t i = task * kImagesPerTask; i < end; ++i) {
      add_image(images, patch, images.pixels.data() + i * image_size,
                parts[static_cast<size_t>(task)]);
    }
  });
  Moments all(patch.size());
  for (const Moments& part : parts) {
    all.patches += part.patches;
    for (size_t i = 0; i < all.sums.size(); ++i) all.sums[i] += part.sums[i];
    for (size_t i = 0; i < all.products.size(); ++i) all.products[i] += part.products[i];
  }
  return all;
}

// E[q qᵀ] of q = scale · p + shift, both by channel.
Matrix second_moments(const Moments& m, const Patch& patch, std::span<const float> scale,
                      std::span<const float> shift) {
  const size_t d = patch.size();
  const auto n = static_cast<double>(m.patches);
  const auto channel = [&](size_t i) {
    return i / static_cast<size_t>(patch.kernel * patch.kernel);
  };
  Matrix out(d, std::vector<double>(d));
  for (size_t i = 0; i < d; ++i) {
    for (size_t j = i; j < d; ++j) {
      const double ai = scale[channel(i)];
      const double aj = scale[channel(j)];
      const double bi = shift[channel(i)];
      const double bj = shift[channel(j)];
      out[i][j] = out[j][i] = ai * aj * static_cast<double>(m.products[i * d + j]) / n +
                              ai * bj * static_cast<double>(m.sums[i]) / n +
                              bi * aj * static_cast<double>(m.sums[j]) / n + bi * bj;
    }
  }
  return out;
}

// Turns rows and columns p and q of the symmetric `a` so that a[p][q] becomes 0 (Golub and Van
// Loan, "Matrix computations", section 8.5); `v` gathers the rotations in its columns.
void rotate(Matrix& a, Matrix& v, size_t p, size_t q) {
  if (a[p][q] == 0) return;
  const double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
  const double t = std::copysign(1.0, theta) / (std::fabs(theta) + std::hypot(theta, 1.0));
  const double c = 1 / std::hypot(t, 1.0);
  const double s = t * c;
  const size_t d = a.size();
  for (size_t k = 0; k < d; ++k) {
    const double x = a[k][p];
    const double y = a[k][q];
    a[k][p] = c * x - s * y;
    a[k][q] = s * x + c * y;
  }
  for (size_t k = 0; k < d; ++k) {
    const double x = a[p][k];
    const double y = a[q][k];
    a[p][k] = c * x - s * y;
    a[q][k] = s * x + c * y;
  }
  for (size_t k = 0; k < d; ++k) {
    const double x = v[k][p];
    const double y = v[k][q];
    v[k][p] = c * x - s * y;
    v[k][q] = s * x + c * y;
  }
}

struct Eigen {
  std::vector<double> values;  // ascending
  Matrix vectors;              // vectors[i] belongs to values[i]; its largest element is positive
};

// Cyclic Jacobi: a dozen dimensions need no more than a handful of sweeps.
Eigen eigen(Matrix a) {
  constexpr int kSweeps = 30;
  const size_t d = a.size();
  Matrix v(d, std::vector<double>(d, 0.0));
  for (size_t i = 0; i < d; ++i) v[i][i] = 1;
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t p = 0; p + 1 < d; ++p) {
      for (size_t q = p + 1; q < d; ++q) rotate(a, v, p, q);
    }
  }
  std::vector<std::pair<double, size_t>> order;
  for (size_t i = 0; i < d; ++i) order.emplace_back(a[i][i], i);
  std::sort(order.begin(), order.end());
  Eigen out;
  for (const auto& [value, column] : order) {
    out.values.push_back(value);
    std::vector<double> vector(d);
    for (size_t k = 0; k < d; ++k) vector[k] = v[k][column];
    const auto largest = std::max_element(vector.begin(), vector.end(), [](double x, double y) {
      return std::fabs(x) < std::fabs(y);
    });
    if (*largest < 0) {
      for (double& x : vector) x = -x;
    }
    out.vectors.push_back(std::move(vector));
  }
  return out;
}

// The first convolution and whether it is one that can whiten.
Result<const Node*> whitening_node(const Graph& graph, const WhiteningImages& images) {
  const auto conv = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                 [](const Node& node) { return node.op == "Conv"; });
  const bool behind_input = conv != graph.nodes.end() && conv->inputs[0] == "preprocess.add" &&
                            graph.find_initializer("preprocess.scale") != nullptr &&
                            graph.find_initializer("preprocess.shift") != nullptr;
  if (!behind_input) {
    return invalid_argument(
        fmt::format("'{}' does not begin with normalisation and a convolution, which could whiten",
                    graph.name));
  }
  const Shape& w = graph.initializers.at(conv->inputs[1]).shape();
  const auto pads = conv->ints_attribute("pads", {0, 0, 0, 0});
  const auto strides = conv->ints_attribute("strides", {1, 1});
  const bool plain = std::all_of(pads.begin(), pads.end(), [](int64_t p) { return p == 0; }) &&
                     std::all_of(strides.begin(), strides.end(), [](int64_t s) { return s == 1; });
  const bool fits = w.size() == 4 && w[1] == images.channels && w[2] == w[3] &&
                    w[0] == 2 * w[1] * w[2] * w[3] && images.height >= w[2] && images.width >= w[3];
  if (!plain || !fits) {
    return invalid_argument(
        fmt::format("'{}', weights {}, cannot whiten images of {} channels: expected stride 1, no "
                    "padding and twice as many outputs as a patch has values",
                    conv->name, shape_string(w), images.channels));
  }
  return &*conv;
}

}  // namespace

Status whiten_first_convolution(Graph& graph, const WhiteningImages& images) {
  PARE_ASSIGN_OR_RETURN(const Node* const node, whitening_node(graph, images));
  const int64_t image_size = images.channels * images.height * images.width;
  if (images.count < 1 || static_cast<int64_t>(images.pixels.size()) != images.count * image_size) {
    return invalid_argument(fmt::format("whitening: {} images of {} bytes expected, {} bytes given",
                                        images.count, image_size, images.pixels.size()));
  }
  const std::string name = node->inputs[1];
  const Shape shape = graph.initializers.at(name).shape();
  const Patch patch{shape[1], shape[2]};
  const auto scale = graph.initializers.at("preprocess.scale").values<float>();
  const auto shift = graph.initializers.at("preprocess.shift").values<float>();
  const Eigen e = eigen(second_moments(measure(images, patch), patch, scale, shift));
  const size_t d = patch.size();
  std::vector<float> weights(2 * d * d);
  for (size_t i = 0; i < d; ++i) {
    const double size = 1 / std::sqrt(std::max(0.0, e.values[i]) + kEpsilon);
    for (size_t k = 0; k < d; ++k) {
      const auto w = static_cast<float>(e.vectors[i][k] * size);
      weights[i * d + k] = w;
      weights[(d + i) * d + k] = -w;
    }
  }
  graph.initializers[name] = Tensor::from_values<float>(shape, weights);
  return ok_status();
}

}  // namespace pare
