// Products of matrices small enough for the caches: the micro-kernel of attention and of large products. The left
// operand is read in strips of rows, and each of its elements is broadcast to a vector. The right operand is packed
// into panels that are two vectors wide, so each step of the inner dimension loads two vectors.
#if defined(ROPEWALK_CPU_TILE_PRODUCT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ROPEWALK_CPU_TILE_PRODUCT_INL_H_
#undef ROPEWALK_CPU_TILE_PRODUCT_INL_H_
#else
#define ROPEWALK_CPU_TILE_PRODUCT_INL_H_
#endif

#include <algorithm>

#include "kernels/cpu/vector-inl.h"
#include "kernels/floating.h"
#include "kernels/range.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// The sums of a strip x panel stay in registers: 24 of AVX-512's 32, 12 of 16 elsewhere.
#if HWY_TARGET <= HWY_AVX3
inline constexpr int64_t kStrip = 12;
#else
inline constexpr int64_t kStrip = 6;
#endif
inline constexpr int64_t kLargestPanel = 2 * hn::MaxLanes(Floats());

HWY_INLINE int64_t panel_columns() { return 2 * lanes(); }

enum class Order { kRows, kColumns };

// The left operand: element (row, i) is data[row * stride + i] in Order::kRows, data[i * stride + row] in kColumns.
struct Left {
  const float* data;
  int64_t stride;
};

// c [strip, vectors * lanes()] = left [strip, inner] right [inner, vectors * lanes()],  or  c += factor * that. right
// is a panel, or with one vector either half of it.
template <Order order, bool add, int64_t strip = kStrip, int64_t vectors = 2>
HWY_INLINE void strip_product(Left left, const float* HWY_RESTRICT right, int64_t inner, float* HWY_RESTRICT c,
                              int64_t c_stride, float factor = 1) {
  const Floats d;
  const int64_t width = lanes();
  FloatVector sum[strip][vectors];
  for (auto& row : sum)
    for (auto& part : row) part = hn::Zero(d);
  const float* HWY_RESTRICT a = left.data;
  HWY_UNROLL(4)  // because loop overhead takes issue slots
  for (int64_t i = 0; i < inner; ++i) {
    FloatVector b[vectors];
    for (int64_t v = 0; v < vectors; ++v) b[v] = hn::LoadU(d, right + v * width);
    right += 2 * width;
    for (int64_t row = 0; row < strip; ++row) {
      const FloatVector x = hn::Set(d, order == Order::kRows ? a[row * left.stride] : a[row]);
      for (int64_t v = 0; v < vectors; ++v) sum[row][v] = hn::MulAdd(x, b[v], sum[row][v]);
    }
    a += order == Order::kRows ? 1 : left.stride;
  }
  [[maybe_unused]] const FloatVector by = hn::Set(d, factor);
  for (int64_t row = 0; row < strip; ++row)
    for (int64_t v = 0; v < vectors; ++v) {
      float* to = c + row * c_stride + v * width;
      if constexpr (add) sum[row][v] = hn::MulAdd(by, sum[row][v], hn::LoadU(d, to));
      hn::StoreU(sum[row][v], d, to);
    }
}

// The same if only the first `rows` rows and `columns` columns of c exist.
template <Order order, bool add>
HWY_INLINE void edge_product(Left left, const float* panel, int64_t inner, int64_t rows, int64_t columns, float* c,
                             int64_t c_stride, float factor = 1) {
  HWY_ALIGN float whole[kStrip * kLargestPanel];
  strip_product<order, false>(left, panel, inner, whole, kLargestPanel);
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t column = 0; column < columns; ++column) {
      float& to = c[row * c_stride + column];
      const float sum = whole[row * kLargestPanel + column];
      to = add ? to + factor * sum : sum;
    }
}

// Packed numbers are fp32; packing widens elements E, fp32 or bf16.

// Packs the columns of x [.., columns] (rows `stride` apart) into panels: panel p is [panel_rows, panel_columns()] and
// holds the columns from p * panel_columns() on, 0 beyond the last. Row i of x, for i in `rows`, goes to row i of each
// panel. The panels' other rows in `written` are set to 0; rows outside `written` are not touched.
template <typename E>
HWY_INLINE void pack_columns(const E* x, int64_t stride, int64_t columns, Range rows, Range written, int64_t panel_rows,
                             float* to) {
  constexpr int64_t kRows = 64;  // few enough that their pages are still in the TLB for the next panel
  const int64_t panel = panel_columns(), width = lanes();
  for (int64_t begin = rows.begin; begin < rows.end; begin += kRows)
    for (int64_t first = 0; first < columns; first += panel) {
      const int64_t here = std::min(panel, columns - first);
      for (int64_t row = begin; row < std::min(begin + kRows, rows.end); ++row) {
        const E* from = x + row * stride + first;
        float* out = to + first * panel_rows + row * panel;
        if (here == panel) {
          store(load(from, AllLanes{}), out, AllLanes{});
          store(load(from + width, AllLanes{}), out + width, AllLanes{});
        } else {
          for (int64_t i = 0; i < panel; ++i) out[i] = i < here ? ropewalk::widen(from[i]) : 0.0f;
        }
      }
    }
  for (int64_t first = 0; first < columns; first += panel, to += panel_rows * panel) {
    std::fill(to + written.begin * panel, to + rows.begin * panel, 0.0f);
    std::fill(to + rows.end * panel, to + written.end * panel, 0.0f);
  }
}

#if HWY_TARGET != HWY_SCALAR
using Four = hn::FixedTag<float, 4>;
HWY_INLINE hn::Vec<Four> load_four(const float* from) { return hn::LoadU(Four(), from); }
HWY_INLINE hn::Vec<Four> load_four(const BFloat16* from) {
  const hn::Rebind<uint32_t, Four> words;
  const auto bits = hn::PromoteTo(words, hn::LoadU(hn::Rebind<uint16_t, Four>(), &from->bits));
  return hn::BitCast(Four(), hn::ShiftLeft<16>(bits));
}

// Transposes 4 x 4 numbers.
template <typename E>
HWY_INLINE void transpose_4x4(const E* from, int64_t from_stride, float* to, int64_t to_stride) {
  const Four d;
  const auto a0 = load_four(from), a1 = load_four(from + from_stride);
  const auto a2 = load_four(from + 2 * from_stride), a3 = load_four(from + 3 * from_stride);
  const auto low01 = hn::InterleaveLower(d, a0, a1), low23 = hn::InterleaveLower(d, a2, a3);
  const auto high01 = hn::InterleaveUpper(d, a0, a1), high23 = hn::InterleaveUpper(d, a2, a3);
  hn::StoreU(hn::ConcatLowerLower(d, low23, low01), d, to);
  hn::StoreU(hn::ConcatUpperUpper(d, low23, low01), d, to + to_stride);
  hn::StoreU(hn::ConcatLowerLower(d, high23, high01), d, to + 2 * to_stride);
  hn::StoreU(hn::ConcatUpperUpper(d, high23, high01), d, to + 3 * to_stride);
}
#endif

// Transposes x in whole groups of 4 x 4 and returns the number of columns done; the caller does the remaining rows and
// columns. Uses up each cache line before the next, because rows a power of two apart map to the same cache sets and
// evict each other.
template <typename E>
HWY_INLINE int64_t transpose_fours([[maybe_unused]] const E* x, [[maybe_unused]] int64_t stride,
                                   [[maybe_unused]] int64_t rows, [[maybe_unused]] int64_t columns,
                                   [[maybe_unused]] float* to, [[maybe_unused]] int64_t to_stride) {
#if HWY_TARGET == HWY_SCALAR
  return 0;
#else
  constexpr int64_t kLine = 64 / sizeof(E);  // elements in a cache line
  const int64_t fours = columns / 4 * 4;
  for (int64_t begin = 0; begin < fours; begin += kLine)
    for (int64_t row = 0; row + 4 <= rows; row += 4)
      for (int64_t i = begin; i < std::min(fours, begin + kLine); i += 4)
        transpose_4x4(x + row * stride + i, stride, to + i * to_stride + row, to_stride);
  return fours;
#endif
}

// Packs the rows of x [.., columns] into panels: panel p is [columns, panel_columns()], and its columns are the rows of
// x from p * panel_columns() on. Only `rows` of x are read. `written` is a range of whole panels; columns in it that
// belong to other rows are set to 0.
template <typename E>
HWY_INLINE void pack_rows_as_columns(const E* x, int64_t stride, int64_t columns, Range rows, Range written,
                                     float* to) {
  const int64_t panel = panel_columns();
  for (int64_t first = written.begin; first < written.end; first += panel) {
    const int64_t begin = std::clamp(rows.begin - first, int64_t{0}, panel);
    const int64_t end = std::clamp(rows.end - first, int64_t{0}, panel);
    const E* from = x + first * stride;
    float* out = to + first * columns;
    int64_t i = 0;
    if (begin == 0 && end == panel) i = transpose_fours(from, stride, panel, columns, out, panel);
    for (; i < columns; ++i) {
      std::fill(out + i * panel, out + i * panel + begin, 0.0f);
      for (int64_t row = begin; row < end; ++row) out[i * panel + row] = ropewalk::widen(from[row * stride + i]);
      std::fill(out + i * panel + end, out + (i + 1) * panel, 0.0f);
    }
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // the toggled guard
