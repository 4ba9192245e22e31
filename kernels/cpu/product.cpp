// A product is cut into blocks that fit the caches (Goto and van de Geijn, "Anatomy of High-Performance Matrix
// Multiplication", 2008). For each block of the inner dimension, a block of rows of a is packed into strips. Then each
// block of columns of b is packed into panels, and every strip is multiplied by every panel (tile_product-inl.h).
// Packed numbers are read sequentially. A strip stays in L1 while it is multiplied by the panels of a block, which stay
// in L2.
#include "kernels/cpu/product.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/product.cpp"
#include <hwy/foreach_target.h>

#include "kernels/cpu/tile_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace ropewalk::HWY_NAMESPACE {

// The largest block: 288 KiB of panels, 2.25 MiB of strips. A shorter inner dimension would read and write c more
// often. Rows and columns are multiples of every strip's height and every panel's width.
constexpr int64_t kBlockInner = 384, kBlockRows = 1536, kBlockColumns = 192;

// A last strip with exactly a third or two thirds of kStrip rows computes only these.
constexpr int64_t kThird = kStrip / 3;

// Packs x [rows, inner] into strips: strip s is [inner, kStrip], and its columns are the rows of x from s * kStrip on,
// 0 beyond the last.
HWY_INLINE void pack_strips(const float* x, int64_t stride, int64_t rows, int64_t inner, float* to) {
  for (int64_t first = 0; first < rows; first += kStrip, to += inner * kStrip, x += kStrip * stride) {
    const int64_t here = std::min(kStrip, rows - first);
    const int64_t done = transpose_fours(x, stride, here, inner, to, kStrip), done_rows = done > 0 ? here / 4 * 4 : 0;
    for (int64_t row = 0; row < kStrip; ++row)
      for (int64_t i = row < done_rows ? done : 0; i < inner; ++i)
        to[i * kStrip + row] = row < here ? x[row * stride + i] : 0.0f;
  }
}

// Packs the same strips from the transpose, x [inner, rows].
HWY_INLINE void pack_strips_of_columns(const float* x, int64_t stride, int64_t rows, int64_t inner, float* to) {
  constexpr int64_t kSideBySide = 16;  // rows of x packed together, so that each cache line is used up
  for (int64_t begin = 0; begin < inner; begin += kSideBySide)
    for (int64_t first = 0; first < rows; first += kStrip) {
      const int64_t here = std::min(kStrip, rows - first);
      for (int64_t i = begin; i < std::min(begin + kSideBySide, inner); ++i) {
        const float* from = x + i * stride + first;
        float* out = to + first * inner + i * kStrip;
        if (here == kStrip) {
          std::memcpy(out, from, kStrip * sizeof(float));
        } else {
          for (int64_t row = 0; row < kStrip; ++row) out[row] = row < here ? from[row] : 0.0f;
        }
      }
    }
}

template <int64_t strip>
HWY_INLINE void whole_tile(Left left, const float* panel, int64_t inner, Write write, float* c, int64_t c_stride) {
  for (int64_t row = 0; row < strip; ++row) prefetch(c + row * c_stride), prefetch(c + row * c_stride + lanes());
  if (write == Write::kAdd) {
    strip_product<Order::kColumns, true, strip>(left, panel, inner, c, c_stride);
  } else {
    strip_product<Order::kColumns, false, strip>(left, panel, inner, c, c_stride);
  }
}

// Multiplies a strip by a panel. `rows` and `columns` are what is left of c, perhaps more than the strip and the panel.
HWY_INLINE void tile(Left left, const float* panel, int64_t inner, int64_t rows, int64_t columns, Write write, float* c,
                     int64_t c_stride) {
  if (columns >= panel_columns()) {
    if (rows >= kStrip) return whole_tile<kStrip>(left, panel, inner, write, c, c_stride);
    if (rows == 2 * kThird) return whole_tile<2 * kThird>(left, panel, inner, write, c, c_stride);
    if (rows == kThird) return whole_tile<kThird>(left, panel, inner, write, c, c_stride);
  }
  rows = std::min(rows, kStrip), columns = std::min(columns, panel_columns());
  if (write == Write::kAdd) {
    edge_product<Order::kColumns, true>(left, panel, inner, rows, columns, c, c_stride);
  } else {
    edge_product<Order::kColumns, false>(left, panel, inner, rows, columns, c, c_stride);
  }
}

void product(const ProductSizes& s, Matrix a, Matrix b, Write write, float* c, Scratch& scratch) {
  const int64_t panel = panel_columns();
  const int64_t blocks = (s.inner + kBlockInner - 1) / kBlockInner;
  const int64_t block_inner = round_up((s.inner + blocks - 1) / blocks, 4);
  const int64_t block_rows = std::min(kBlockRows, round_up(s.rows, kStrip));
  const int64_t block_columns = std::min(kBlockColumns, round_up(s.columns, panel));
  scratch.reserve({block_rows * block_inner, block_columns * block_inner});
  float *strips = scratch.take(block_rows * block_inner), *panels = scratch.take(block_columns * block_inner);

  for (int64_t i = 0; i < s.inner; i += block_inner, write = Write::kAdd) {
    const int64_t inner = std::min(block_inner, s.inner - i);
    for (int64_t r = 0; r < s.rows; r += block_rows) {
      const int64_t rows = std::min(block_rows, s.rows - r);
      if (a.transpose == Transpose::kYes) {
        pack_strips_of_columns(a.data + i * a.stride + r, a.stride, rows, inner, strips);
      } else {
        pack_strips(a.data + r * a.stride + i, a.stride, rows, inner, strips);
      }
      for (int64_t j = 0; j < s.columns; j += block_columns) {
        const int64_t columns = std::min(block_columns, s.columns - j);
        if (b.transpose == Transpose::kYes) {
          const Range all{0, columns}, padded{0, round_up(columns, panel)};
          pack_rows_as_columns(b.data + j * b.stride + i, b.stride, inner, all, padded, panels);
        } else {
          pack_columns(b.data + i * b.stride + j, b.stride, columns, {0, inner}, {0, inner}, inner, panels);
        }
        for (int64_t row = 0; row < rows; row += kStrip)
          for (int64_t column = 0; column < columns; column += panel)
            tile({strips + row * inner, kStrip}, panels + column * inner, inner, rows - row, columns - column, write,
                 c + (r + row) * s.columns + j + column, s.columns);
      }
    }
  }
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(product);

void product(const ProductSizes& s, Matrix a, Matrix b, Write write, float* c, Scratch& scratch) {
  if (s.rows == 0 || s.columns == 0) return;
  if (s.inner == 0) {
    if (write == Write::kSet) std::fill_n(c, s.rows * s.columns, 0.0f);
    return;
  }
  HWY_DYNAMIC_DISPATCH(product)(s, a, b, write, c, scratch);
}

}  // namespace ropewalk
#endif
