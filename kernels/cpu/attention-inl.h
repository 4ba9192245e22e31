// Vector code of attention's rows, compiled once for each instruction set.
#if defined(ROPEWALK_CPU_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEWALK_CPU_ATTENTION_INL_H_
#undef ROPEWALK_CPU_ATTENTION_INL_H_
#else
#define ROPEWALK_CPU_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "kernels/cpu/attention_pack.h"
#include "kernels/cpu/vector-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// to [count] = factor * from [count]
HWY_INLINE void scaled_copy(int64_t count, float factor, const float* from, float* to) {
  const FloatVector by = hn::Set(Floats(), factor);
  for_each_vector(count,
                  [&](int64_t i, auto some) HWY_ATTR { store(hn::Mul(by, load(from + i, some)), to + i, some); });
}

// The columns of a tile, filled up to whole vectors; a row of scores has room for them.
HWY_INLINE int64_t padded_columns(const AttentionTile& tile) { return (tile.keys() + lanes() - 1) / lanes() * lanes(); }

// Scores outside `seen` become -infinity, whose power is exactly 0.
HWY_INLINE void hide_masked(VisibleKeys seen, int64_t columns, float* scores) {
  constexpr float kMasked = -std::numeric_limits<float>::infinity();
  std::fill(scores, scores + seen.begin, kMasked);
  std::fill(scores + seen.end, scores + columns, kMasked);
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard
