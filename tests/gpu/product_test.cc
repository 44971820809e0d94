// Every product kernel of the GPU against the processor's reference, on the cases of the
// convolution and matrix-product families. Integers are equal.
#include <gtest/gtest.h>

#include <cmath>

#include "gpu/cuda/product/variants.h"
#include "kernels/conv/conv.h"
#include "testing/compare.h"
#include "tests/gpu/on_gpu.h"

namespace pare::gpu::cuda {
namespace {

using namespace testing_compare;
using namespace testing_operands;

struct Types {
  DType src, weights, dst;
};
constexpr Types kTypes[] = {
    {DType::kFloat32, DType::kFloat32, DType::kFloat32},
    {DType::kFloat16, DType::kFloat16, DType::kFloat16},
    {DType::kFloat16, DType::kFloat16, DType::kFloat32},
    {DType::kBFloat16, DType::kBFloat16, DType::kBFloat16},
    {DType::kUInt8, DType::kInt8, DType::kUInt8},
    {DType::kUInt8, DType::kInt8, DType::kFloat32},
};
constexpr Activation kActivations[] = {Activation::kRelu, Activation::kNone, Activation::kGelu,
                                       Activation::kClip, Activation::kHardSwish};

class ProductOnGpu : public testing_gpu::OnGpu {
 protected:
  void check(ConvProblem sizes, const Types& types, int variation);

 private:
  struct Case {
    ConvProblem p;
    GuardedBuffer src{0}, weights{0}, bias{0}, int_bias{0}, multiplier{0}, residual{0};
    Epilogue epilogue;
    int64_t terms = 0;
  };
  static Case make_case(ConvProblem p, const Types& types, int variation);
  static std::vector<float> reference(Case& c);
  ProductOp operation(Case& c);
  void compare(const Case& c, const char* name, const ProductOp& op, cudaError_t launched,
               const std::vector<float>& want);

  VariantTally tally_{"GPU products"};
};

ProductOnGpu::Case ProductOnGpu::make_case(ConvProblem p, const Types& types, int variation) {
  Case c;
  Rng rng(47, RngPurpose::kTest, static_cast<uint64_t>(variation));
  p.out_h = conv_out_size(p.in_h, p.pad_top + p.pad_bottom, p.kernel_h, p.stride_h, p.dilation_h);
  p.out_w = conv_out_size(p.in_w, p.pad_left + p.pad_right, p.kernel_w, p.stride_w, p.dilation_w);
  p.src_type = types.src;
  p.weights_type = types.weights;
  p.dst_type = types.dst;
  p.pad_value = static_cast<uint8_t>(types.src == DType::kUInt8 ? variation * 37 % 256 : 0);
  p.activation = kActivations[variation % 5];
  p.residual = variation % 3 == 2;
  c.p = p;
  c.terms = p.in_c / p.groups * p.kernel_h * p.kernel_w;
  c.src = random_operand(rng, types.src, p.batch * p.in_h * p.in_w * p.in_c);
  c.weights = random_operand(rng, types.weights, p.out_c * c.terms);
  c.bias = GuardedBuffer::of(random_floats(rng, p.out_c, -1.0F, 1.0F));
  c.int_bias = GuardedBuffer::of(random_ints(rng, p.out_c, 1 << 16));
  const int64_t count = p.batch * p.out_h * p.out_w * p.out_c;
  c.residual = GuardedBuffer::of(random_floats(rng, p.residual ? count : 0, -1.0F, 1.0F));
  const float size = 1.0F / (11000.0F * std::sqrt(static_cast<float>(c.terms) + 1.0F));
  c.multiplier = GuardedBuffer::of(random_floats(rng, p.out_c, 0.5F * size, 2.0F * size));
  Epilogue& e = c.epilogue;
  if (types.weights == DType::kInt8) {
    e.int_bias = c.int_bias.as<int32_t>();
    e.multiplier = c.multiplier.as<float>();
    // What the functions of two libraries round differently would move codes by one.
    if (p.activation == Activation::kGelu) c.p.activation = Activation::kLeakyRelu;
  } else {
    e.bias = c.bias.as<float>();
  }
  if (p.residual) e.residual = c.residual.as<float>();
  e.residual_stride = p.out_c;
  e.activation = c.p.activation;
  e.alpha = -0.5F;
  e.beta = 0.75F;
  if (types.dst == DType::kUInt8) {
    e.out_scale = 0.02F;
    e.out_zero_point = 10;
    e.out_lo = variation % 2 == 0 ? 0 : 10;
  }
  return c;
}

std::vector<float> ProductOnGpu::reference(Case& c) {
  const ConvKernel& kernel = *conv_kernels().back();
  GuardedBuffer packed((conv_packed_bytes(kernel, c.p, c.weights.data()) + 63) / 64 * 64);
  conv_pack(kernel, c.p, c.weights.data(), packed.data());
  GuardedBuffer scratch((conv_scratch_bytes(kernel, c.p, 2) + 63) / 64 * 64);
  GuardedBuffer dst(c.p.batch * c.p.out_h * c.p.out_w * c.p.out_c * dtype_bytes(c.p.dst_type));
  ConvArgs args;
  args.src = c.src.data();
  args.packed = packed.data();
  args.dst = dst.data();
  args.epilogue = c.epilogue;
  args.scratch = scratch.bytes();
  ThreadPool pool(2);
  conv_run(kernel, c.p, args, pool);
  return as_floats(c.p.dst_type, dst);
}

ProductOp ProductOnGpu::operation(Case& c) {
  const ConvProblem& p = c.p;
  const auto narrow = [](int64_t v) { return static_cast<int32_t>(v); };
  ProductOp op;
  const int64_t in_c = p.in_c / p.groups;
  const int64_t bytes = dtype_bytes(p.weights_type);
  const int64_t vector = 16 / bytes;
  op.weights_stride = narrow((c.terms + vector - 1) / vector * vector);
  std::vector<std::byte> arranged(static_cast<size_t>(p.out_c * op.weights_stride * bytes));
  for (int64_t n = 0; n < p.out_c; ++n) {
    for (int64_t k = 0; k < c.terms; ++k) {
      const int64_t from = (n * in_c + k % in_c) * p.kernel_h * p.kernel_w + k / in_c;
      std::memcpy(arranged.data() + (n * op.weights_stride + k) * bytes,
                  c.weights.data() + from * bytes, static_cast<size_t>(bytes));
    }
  }
  op.weights = upload(arranged.data(), arranged.size(), p.weights_type);
  op.src = upload(c.src, p.src_type);
  if (c.epilogue.bias != nullptr) op.bias = upload(c.bias, DType::kFloat32);
  if (c.epilogue.int_bias != nullptr) {
    op.int_bias = upload(c.int_bias, DType::kInt32);
    op.multiplier = upload(c.multiplier, DType::kFloat32);
  }
  if (p.residual) op.residual = upload(c.residual, DType::kFloat32);
  op.image_stride = p.in_h * p.in_w * p.in_c;
  op.dst_stride = op.residual_stride = p.out_c;
  op.pixel_stride = narrow(p.in_c);
  op.m = narrow(p.batch * p.out_h * p.out_w);
  op.n = narrow(p.out_c / p.groups);
  op.k = narrow(c.terms);
  op.groups = narrow(p.groups);
  op.in_h = narrow(p.in_h);
  op.in_w = narrow(p.in_w);
  op.in_c = narrow(in_c);
  op.out_h = narrow(p.out_h);
  op.out_w = narrow(p.out_w);
  op.kernel_h = narrow(p.kernel_h);
  op.kernel_w = narrow(p.kernel_w);
  op.stride_h = narrow(p.stride_h);
  op.stride_w = narrow(p.stride_w);
  op.dilation_h = narrow(p.dilation_h);
  op.dilation_w = narrow(p.dilation_w);
  op.pad_top = narrow(p.pad_top);
  op.pad_left = narrow(p.pad_left);
  op.pad_value = p.pad_value;
  op.activation = c.epilogue.activation;
  op.alpha = c.epilogue.alpha;
  op.beta = c.epilogue.beta;
  op.rounding = {c.epilogue.out_scale, c.epilogue.out_zero_point, c.epilogue.out_lo,
                 c.epilogue.out_hi};
  return op;
}

void ProductOnGpu::compare(const Case& c, const char* name, const ProductOp& op,
                           cudaError_t launched, const std::vector<float>& want) {
  SCOPED_TRACE(std::string(name) + ": m " + std::to_string(op.m) + ", n " + std::to_string(op.n) +
               ", k " + std::to_string(op.k) + ", " + dtype_name(c.p.src_type) + " to " +
               dtype_name(c.p.dst_type));
  if (!finished(launched)) return;
  tally_.ran(name);
  const std::vector<float> got = download(op.dst, static_cast<int64_t>(want.size()));
  if (c.p.weights_type == DType::kInt8) {
    EXPECT_TRUE(all_equal<float>(got, want));
    return;
  }
  Tolerance t = product_tolerance(c.terms, 1.0, 1.0, c.p.dst_type, 2.0);
  t.absolute *= 1.5;  // the activations' slopes
  const bool tf32 = std::string(name).find("tf32") != std::string::npos;
  if (tf32) t.absolute += 4 * 0x1p-10 * std::sqrt(static_cast<double>(c.terms));
  EXPECT_TRUE(all_close(got, want, t));
}

void ProductOnGpu::check(ConvProblem sizes, const Types& types, int variation) {
  Case c = make_case(sizes, types, variation);
  const std::vector<float> want = reference(c);
  if (want.empty()) return;
  ProductOp op = operation(c);
  const auto run = [&](const char* name, auto&& launch_it) {
    op.dst = allocate(static_cast<int64_t>(want.size()), types.dst);
    compare(c, name, op, launch_it(), want);
  };
  run("simple", [&] { return launch_simple(op, how_); });
  if (takes_few_rows(op)) run("few_rows", [&] { return launch_few_rows(op, how_); });
  if (takes_tensor(op)) {
    const bool tf32 = types.src == DType::kFloat32;
    for (int tile = 0; tile < 4; ++tile) {
      if (tensor_grain(op) < 16 && (tile == 0 || tile == 3)) continue;
      const TensorPlan plan{.tile = tile, .splits = 1};
      run(tf32 ? "tensor_tf32" : "tensor", [&] { return launch_tensor(op, plan, how_); });
    }
    if (op.groups == 1 && op.k >= 512) {
      const TensorPlan plan{.tile = 2, .splits = 3};
      take_workspace(tensor_workspace_bytes(op, plan));
      run(tf32 ? "tensor_tf32 split" : "tensor split",
          [&] { return launch_tensor(op, plan, how_); });
      run(tf32 ? "tensor_tf32 split again" : "tensor split again",
          [&] { return launch_tensor(op, plan, how_); });
    }
  }
  const bool group = how_.device.capability == 90 && types.src != DType::kFloat32 &&
                     tensor_grain(op) == 16 && op.k > 0;
  if (group) {
    for (const int width : {64, 128, 192, 256}) {
      run("group", [&] { return launch_group(op, {.width = width, .splits = 1}, how_); });
    }
    if (op.groups == 1 && op.k >= 512) {
      const GroupPlan plan{.width = 128, .splits = 3};
      take_workspace(group_workspace_bytes(op, plan));
      run("group split", [&] { return launch_group(op, plan, how_); });
      run("group split again", [&] { return launch_group(op, plan, how_); });
    }
  }
  forget();
}

TEST_F(ProductOnGpu, ConvolutionsAgreeWithTheReference) {
  int variation = 0;
  for (const Types& types : kTypes) {
#define PARE_CONV_SIZE(b, h, w, c, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g) \
  check({b, h, w, c, 0, 0, o, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr, g}, types, ++variation);
#define PARE_CONV_LAYER(name, size, c, o, kernel, stride, pad)                                    \
  if (size < 50) {                                                                                \
    check(                                                                                        \
        {2, size, size, c, 0, 0, o, kernel, kernel, stride, stride, 1, 1, pad, pad, pad, pad, 1}, \
        types, ++variation);                                                                      \
  }
#include "kernels/conv/cases.inc"
#undef PARE_CONV_SIZE
#undef PARE_CONV_LAYER
  }
}

TEST_F(ProductOnGpu, DenseLayersAgreeWithTheReference) {
  int variation = 0;
  const auto dense = [&](int64_t m, int64_t n, int64_t k, const Types& types) {
    check({m, 1, 1, k, 0, 0, n, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 1}, types, ++variation);
  };
  for (const Types& types : kTypes) {
#define PARE_GEMM_SIZE(m, n, k) dense(m, n, k, types);
#define PARE_GEMM_LAYER(name, rows, n, k) dense(rows, n, k, types);
#define PARE_MATMUL_SIZE(batch, m, n, k)
#include "kernels/gemm/cases.inc"
#undef PARE_GEMM_SIZE
#undef PARE_GEMM_LAYER
#undef PARE_MATMUL_SIZE
    dense(300, 272, 320, types);  // several tiles of every kernel in both directions
  }
}

}  // namespace
}  // namespace pare::gpu::cuda
