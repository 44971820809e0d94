// The loops of all instruction sets. Op has a Sum, an Operand and
//   static Sum zero();  static Operand ones();  static Sum add(Sum, Operand, Operand);
//   static double total(const Sum&);   all lanes together
#include <cstdint>

#include "kernels/peak/loops.h"
#include "kernels/simd/vec.h"

namespace pare {
namespace {

// The compiler may know nothing about the operands: products of constants would be made once.
#if defined(__aarch64__)
#define PARE_UNKNOWN(v) asm volatile("" : "+w"(v))
#else
#define PARE_UNKNOWN(v) asm volatile("" : "+v"(v))
#endif

// Each sum is a variable of its own: g++ 12 keeps an array of them in memory.
#define PARE_CHAINS(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
static_assert(kPeakChains == 12);

template <class Op>
double multiply(int64_t rounds) {
#define PARE_SUM(i) typename Op::Sum s##i = Op::zero();
#define PARE_ADD(i) \
  PARE_UNKNOWN(w);  \
  s##i = Op::add(s##i, a, w);
#define PARE_TOTAL(i) +Op::total(s##i)
  PARE_CHAINS(PARE_SUM)
  typename Op::Operand a = Op::ones();
  typename Op::Operand w = Op::ones();
  for (int64_t r = 0; r < rounds; ++r) {
    PARE_CHAINS(PARE_ADD)
    PARE_UNKNOWN(a);
  }
  return 0.0 PARE_CHAINS(PARE_TOTAL);
#undef PARE_SUM
#undef PARE_ADD
#undef PARE_TOTAL
}

struct FloatLanes {
  using Sum = V::F;
  using Operand = V::F;
  static Sum zero() { return V::zero(); }
  static Operand ones() { return V::set(1.0F); }
  static Sum add(Sum sum, Operand a, Operand w) { return V::fma(a, w, sum); }
  static double total(const Sum& sum) {
    float lanes[V::kLanes];
    V::store(lanes, sum);
    double all = 0;
    for (const float lane : lanes) all += static_cast<double>(lane);
    return all;
  }
};

inline double total_of_ints(V::I sum) {
  int32_t lanes[V::kLanes];
  V::store_int(lanes, sum);
  double all = 0;
  for (const int32_t lane : lanes) all += lane;
  return all;
}

inline double read_floats(int64_t rounds, const float* memory) {
  V::F sums[kPeakReads];
  for (V::F& sum : sums) sum = V::zero();
  for (int64_t r = 0; r < rounds; ++r, memory += kPeakReads * V::kLanes) {
#pragma GCC unroll 8
    for (int c = 0; c < kPeakReads; ++c) {
      sums[c] = V::add(sums[c], V::load(memory + c * V::kLanes));
    }
  }
  double total = 0;
  for (const V::F& sum : sums) total += FloatLanes::total(sum);
  return total;
}

}  // namespace
}  // namespace pare
