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
// Columns of a bf16 c that are summed at a time: at most 4.5 MiB of fp32 sums.
constexpr int64_t kRoundedColumns = 768;

// A last strip with exactly a third or two thirds of kStrip rows computes only these.
constexpr int64_t kThird = kStrip / 3;

// Packs x [rows, inner] into strips: strip s is [inner, kStrip], and its columns are the rows of x from s * kStrip on,
// 0 beyond the last.
template <typename E>
HWY_INLINE void pack_strips(const E* x, int64_t stride, int64_t rows, int64_t inner, float* to) {
  for (int64_t first = 0; first < rows; first += kStrip, to += inner * kStrip, x += kStrip * stride) {
    const int64_t here = std::min(kStrip, rows - first);
    const int64_t done = transpose_fours(x, stride, here, inner, to, kStrip), done_rows = done > 0 ? here / 4 * 4 : 0;
    for (int64_t row = 0; row < kStrip; ++row)
      for (int64_t i = row < done_rows ? done : 0; i < inner; ++i)
        to[i * kStrip + row] = row < here ? ropewalk::widen(x[row * stride + i]) : 0.0f;
  }
}

// Packs the same strips from the transpose, x [inner, rows].
template <typename E>
HWY_INLINE void pack_strips_of_columns(const E* x, int64_t stride, int64_t rows, int64_t inner, float* to) {
  constexpr int64_t kSideBySide = 16;  // rows of x packed together, so that each cache line is used up
  for (int64_t begin = 0; begin < inner; begin += kSideBySide)
    for (int64_t first = 0; first < rows; first += kStrip) {
      const int64_t here = std::min(kStrip, rows - first);
      for (int64_t i = begin; i < std::min(begin + kSideBySide, inner); ++i) {
        const E* from = x + i * stride + first;
        float* out = to + first * inner + i * kStrip;
        if (here == kStrip) {
          E strip[kStrip];  // apart from `out`, so that the loop is vectorized
          std::memcpy(strip, from, sizeof(strip));
          for (int64_t row = 0; row < kStrip; ++row) out[row] = ropewalk::widen(strip[row]);
        } else {
          for (int64_t row = 0; row < kStrip; ++row) out[row] = row < here ? ropewalk::widen(from[row]) : 0.0f;
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

// The elements of a matrix or of its transpose.
template <typename E>
struct Factor {
  explicit Factor(const Matrix& x) : data(x.of.data<E>()), stride(x.of.extent(1)), transpose(x.transpose) {}
  const E* at(int64_t row, int64_t column) const {
    return data + (transpose == Transpose::kYes ? column * stride + row : row * stride + column);
  }
  const E* data;
  int64_t stride;
  Transpose transpose;
};
template <typename E>
struct Factors {
  Factors(const Matrix& a_, const Matrix& b_) : a(a_), b(b_) {}
  Factor<E> a, b;
};

// Sizes of blocks, and room for one packed block of each factor.
struct Blocks {
  int64_t rows, columns, inner;
  float *strips, *panels;
};

// c (rows c_stride apart) (+)= the rows and columns of a b that lie in these ranges
template <typename E>
void multiply(const Factors<E>& x, Range of_rows, Range of_columns, int64_t inner_size, const Blocks& block,
              Write write, float* c, int64_t c_stride) {
  const int64_t panel = panel_columns();
  for (int64_t i = 0; i < inner_size; i += block.inner, write = Write::kAdd) {
    const int64_t inner = std::min(block.inner, inner_size - i);
    for (int64_t r = of_rows.begin; r < of_rows.end; r += block.rows) {
      const int64_t rows = std::min(block.rows, of_rows.end - r);
      if (x.a.transpose == Transpose::kYes) {
        pack_strips_of_columns(x.a.at(r, i), x.a.stride, rows, inner, block.strips);
      } else {
        pack_strips(x.a.at(r, i), x.a.stride, rows, inner, block.strips);
      }
      for (int64_t j = of_columns.begin; j < of_columns.end; j += block.columns) {
        const int64_t columns = std::min(block.columns, of_columns.end - j);
        if (x.b.transpose == Transpose::kYes) {
          const Range all{0, columns}, padded{0, round_up(columns, panel)};
          pack_rows_as_columns(x.b.at(i, j), x.b.stride, inner, all, padded, block.panels);
        } else {
          pack_columns(x.b.at(i, j), x.b.stride, columns, {0, inner}, {0, inner}, inner, block.panels);
        }
        float* to = c + (r - of_rows.begin) * c_stride + j - of_columns.begin;
        for (int64_t row = 0; row < rows; row += kStrip)
          for (int64_t column = 0; column < columns; column += panel)
            tile({block.strips + row * inner, kStrip}, block.panels + column * inner, inner, rows - row,
                 columns - column, write, to + row * c_stride + column, c_stride);
      }
    }
  }
}

// c (+)= a b for a bf16 c, a part at a time: its sums stay in the caches until they are rounded.
template <typename E>
void multiply_and_round(const Factors<E>& x, int64_t inner, const Blocks& block, Write write, const Tensor& c,
                        float* sums) {
  for (int64_t r = 0; r < c.extent(0); r += block.rows)
    for (int64_t j = 0; j < c.extent(1); j += kRoundedColumns) {
      const Range rows{r, std::min(r + block.rows, c.extent(0))};
      const Range columns{j, std::min(j + kRoundedColumns, c.extent(1))};
      multiply(x, rows, columns, inner, block, Write::kSet, sums, columns.size());
      for (int64_t row = rows.begin; row < rows.end; ++row) {
        const float* sum = sums + (row - rows.begin) * columns.size();
        BFloat16* to = c.data<BFloat16>() + row * c.extent(1) + columns.begin;
        for_each_vector(columns.size(), [&](int64_t i, auto some) HWY_ATTR {
          const FloatVector ab = load(sum + i, some);
          store(write == Write::kAdd ? hn::Add(load(to + i, some), ab) : ab, to + i, some);
        });
      }
    }
}

template <typename E>
void product_of(Matrix a, Matrix b, Write write, const Tensor& c, Scratch& scratch) {
  const int64_t inner = a.of.extent(a.transpose == Transpose::kYes ? 0 : 1), columns = c.extent(1);
  const int64_t blocks = (inner + kBlockInner - 1) / kBlockInner;
  const bool rounds = c.dtype() == DType::kBF16;
  Blocks block{std::min(kBlockRows, round_up(c.extent(0), kStrip)),
               std::min(kBlockColumns, round_up(columns, panel_columns())), round_up((inner + blocks - 1) / blocks, 4),
               nullptr, nullptr};
  const int64_t sums = rounds ? block.rows * std::min(kRoundedColumns, columns) : 0;
  scratch.reserve({block.rows * block.inner, block.columns * block.inner, sums});
  block.strips = scratch.take(block.rows * block.inner), block.panels = scratch.take(block.columns * block.inner);
  const Factors<E> x(a, b);
  if (!rounds) return multiply(x, {0, c.extent(0)}, {0, columns}, inner, block, write, c.data<float>(), columns);
  multiply_and_round(x, inner, block, write, c, scratch.take(sums));
}

void product(Matrix a, Matrix b, Write write, const Tensor& c, Scratch& scratch) {
  by_element(a.of.dtype(), [&](auto element) HWY_ATTR { product_of<decltype(element)>(a, b, write, c, scratch); });
}

}  // namespace ropewalk::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace ropewalk {

HWY_EXPORT(product);

void product(Matrix a, Matrix b, Write write, const Tensor& c, Scratch& scratch) {
  if (c.elements() == 0) return;
  if (a.of.elements() == 0) {  // no inner dimension
    if (write == Write::kSet) std::memset(c.raw(), 0, static_cast<size_t>(c.bytes()));
    return;
  }
  HWY_DYNAMIC_DISPATCH(product)(a, b, write, c, scratch);
}

}  // namespace ropewalk
#endif
