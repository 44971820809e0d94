// How a family of kernels lists its variants and how one of them is chosen.
//
// A family (src/kernels/<family>/) has
//   <family>.h     the problem (a plain struct: sizes, types, what is fused), the arguments
//   (pointers
//                  and strides), the struct of a variant, and
//                    Result<Choice<XKernel>> choose_x(const XProblem&, const KernelRequest&);
//   kernels.inc    PARE_KERNEL(symbol, needs): one line a variant, fastest first, reference last;
//                  `symbol` is a `const XKernel` and its name, `needs` a sum of kIsa bits. A
//                  variant of an instruction set defines plain functions in x86_<isa>.cc; the table
//                  of structs is in <family>.cc, compiled for the baseline.
//   reference.cc   reads like the formula.
//
// A variant is a plain struct with at least
//   const char* name;                        "gemm_f32_6x32_avx512"
//   IsaBits needs;
//   const char* (*refuse)(const Problem&);   why it does not take the problem, nullptr: it does
// and, for families with weights, pack functions. The packed form of weights depends on the
// weights' own sizes and types and on the variant's `packing` (a name), never on the batch or on M:
// plans for several batch sizes share one packed copy, after which the source is released. Variants
// for few and for many rows therefore read the same packing; the one exception, columns of floats,
// can be unpacked (gemm.h).
//
// Kernels get the thread pool and split their work into tasks; each output element is computed by
// one task, in an order that depends neither on the task nor on the number of threads: bit-equal
// results for any number of threads.
#ifndef PARE_KERNELS_KERNEL_H_
#define PARE_KERNELS_KERNEL_H_

#include <span>
#include <string>
#include <string_view>

#include "pare/status.h"

#include "base/cpu_features.h"
#include "kernels/isa.h"

namespace pare {

// Whose answer decides: the processor's features, or a variant by name.
struct KernelRequest {
  CpuFeatures cpu;
  std::string forced;      // empty, or a variant's name: one that cannot run is an error
  bool reference = false;  // the last of the list
};

template <typename Kernel>
struct Choice {
  const Kernel* kernel = nullptr;
  std::string reason;  // "needs avx512_vnni", "K 3 below 16" of each faster one; why this one
};

// The bits that `features` fulfils.
IsaBits isa_bits(const CpuFeatures& features);
// "avx512 avx512_vnni"; "baseline" for none.
std::string isa_string(IsaBits bits);

namespace detail {
// Why a variant with `needs` cannot run where `have` is; empty if it can.
std::string missing_isa(IsaBits needs, IsaBits have);
// Appends "name: why; ".
void append_refusal(std::string& reason, const char* name, std::string_view why);
Status no_such_kernel(std::string_view family, std::string_view forced);
Status forced_kernel_refuses(std::string_view forced, std::string_view why);

// Why `kernel` cannot take `problem` where `have` is; empty if it can.
template <typename Kernel, typename Problem>
std::string why_not(const Kernel& kernel, const Problem& problem, IsaBits have) {
  std::string why = missing_isa(kernel.needs, have);
  if (!why.empty() || kernel.refuse == nullptr) return why;
  const char* refusal = kernel.refuse(problem);
  return refusal == nullptr ? "" : refusal;
}
}  // namespace detail

// The first variant of `list` that the processor can run and that takes the problem. A pure
// function of its arguments. `family` is for messages.
template <typename Kernel, typename Problem>
Result<Choice<Kernel>> choose_kernel(std::string_view family, std::span<const Kernel* const> list,
                                     const Problem& problem, const KernelRequest& request) {
  const IsaBits have = isa_bits(request.cpu);
  if (!request.forced.empty()) {
    for (const Kernel* kernel : list) {
      if (request.forced != kernel->name) continue;
      const std::string why = detail::why_not(*kernel, problem, have);
      if (!why.empty()) return detail::forced_kernel_refuses(request.forced, why);
      return Choice<Kernel>{kernel, "asked for by name"};
    }
    return detail::no_such_kernel(family, request.forced);
  }
  if (request.reference) return Choice<Kernel>{list.back(), "reference kernels asked for"};
  Choice<Kernel> choice;
  for (const Kernel* kernel : list) {
    const std::string why = detail::why_not(*kernel, problem, have);
    if (why.empty()) {
      choice.kernel = kernel;
      choice.reason += "first that fits";
      return choice;
    }
    detail::append_refusal(choice.reason, kernel->name, why);
  }
  return internal_error(std::string(family) + ": no kernel takes the problem (" + choice.reason +
                        ")");
}

}  // namespace pare

#endif  // PARE_KERNELS_KERNEL_H_
