#include "parallel/communicator/ordered_reduction.h"

#include <algorithm>
#include <array>

#include "kernels/bfloat16.h"

namespace ropewalk {
namespace {

// How an element is stored, and the type in which it is added.
template <typename T>
struct Plain {
  using Stored = T;
  using Carried = T;
  static T load(T x) { return x; }
  static T store(T x) { return x; }
};

// Unsigned, because overflow of signed integers is undefined.
struct WrappingI32 {
  using Stored = int32_t;
  using Carried = uint32_t;
  static uint32_t load(int32_t x) { return static_cast<uint32_t>(x); }
  static int32_t store(uint32_t x) { return static_cast<int32_t>(x); }
};

struct InF32 {
  using Stored = BFloat16;
  using Carried = float;
  static float load(BFloat16 x) { return static_cast<float>(x); }
  static BFloat16 store(float x) { return BFloat16(x); }
};

struct Sum {
  template <typename T>
  static T apply(T a, T b) {
    return a + b;
  }
};

struct Max {
  template <typename T>
  static T apply(T a, T b) {
    return b > a || b != b ? b : a;
  }
};

// In blocks that stay in the L1 cache while the ranks are added one after another.
template <typename Element, typename Operator>
void reduce(std::span<const void* const> inputs, int64_t elements, void* out) {
  using Carried = typename Element::Carried;
  using Stored = typename Element::Stored;
  constexpr int64_t kBlock = 1024;
  std::array<Carried, kBlock> carried;
  for (int64_t begin = 0; begin < elements; begin += kBlock) {
    const int64_t count = std::min(kBlock, elements - begin);
    const Stored* first = static_cast<const Stored*>(inputs[0]) + begin;
    for (int64_t i = 0; i < count; ++i) carried[static_cast<size_t>(i)] = Element::load(first[i]);
    for (const void* input : inputs.subspan(1)) {
      const Stored* x = static_cast<const Stored*>(input) + begin;
      for (int64_t i = 0; i < count; ++i) {
        Carried& c = carried[static_cast<size_t>(i)];
        c = Operator::apply(c, Element::load(x[i]));
      }
    }
    Stored* y = static_cast<Stored*>(out) + begin;
    for (int64_t i = 0; i < count; ++i) y[i] = Element::store(carried[static_cast<size_t>(i)]);
  }
}

template <typename Element>
void reduce(std::span<const void* const> inputs, int64_t elements, Reduction reduction, void* out) {
  if (reduction == Reduction::kSum) {
    reduce<Element, Sum>(inputs, elements, out);
  } else {
    reduce<Element, Max>(inputs, elements, out);
  }
}

}  // namespace

void reduce_in_rank_order(std::span<const void* const> inputs, int64_t elements, DType dtype, Reduction reduction,
                          void* out) {
  switch (dtype) {
    case DType::kF32:
      return reduce<Plain<float>>(inputs, elements, reduction, out);
    case DType::kF64:
      return reduce<Plain<double>>(inputs, elements, reduction, out);
    case DType::kBF16:
      return reduce<InF32>(inputs, elements, reduction, out);
    case DType::kI32:
      if (reduction == Reduction::kSum) return reduce<WrappingI32, Sum>(inputs, elements, out);
      return reduce<Plain<int32_t>, Max>(inputs, elements, out);
    case DType::kU8:
      break;
  }
  CHECK(false, "a reduction of {}", name_of(dtype));
}

}  // namespace ropewalk
