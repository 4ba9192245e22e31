// Cut like the fp32 products (product.cpp in the folder above): for each block of the inner dimension, a block of rows
// of a is packed; then each block of columns of b is packed, and every strip of 32 rows is multiplied by every panel of
// 32 columns. An fp32 result is summed in place. The sums of a bf16 result stay in scratch memory until its last block
// of the inner dimension, and are rounded then.
#include "kernels/cpu/tiles/product.h"

#include <cstring>

#include "kernels/cpu/tiles/packing-inl.h"
#include "kernels/error.h"
#include "kernels/range.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {
namespace {

// The largest block: 512 KiB of panels, 4 MiB of strips.
constexpr int64_t kBlockSteps = 32, kBlockRows = 2048, kBlockColumns = 256;
constexpr int64_t kMostSums = 4 << 20;  // of a bf16 result, kept in scratch memory: 16 MiB

// to [columns] (+)= sums, rounded to bf16
template <Write write>
inline void write_row(const float* sums, int64_t columns, BFloat16* to) {
  for (int64_t i = 0; i < columns; i += 16) {
    const auto here = static_cast<__mmask16>(first_of_32(std::min<int64_t>(columns - i, 16)));
    __m512 sum = _mm512_loadu_ps(sums + i);
    if constexpr (write == Write::kAdd) {
      const __m512i before = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(here, to + i));
      sum = _mm512_add_ps(sum, _mm512_castsi512_ps(_mm512_slli_epi32(before, 16)));
    }
    _mm256_mask_storeu_epi16(to + i, here, (__m256i)_mm512_cvtneps_pbh(sum));
  }
}
template <Write write>
inline void write_row(const float* sums, int64_t columns, float* to) {
  for (int64_t i = 0; i < columns; i += 16) {
    const auto here = static_cast<__mmask16>(first_of_32(std::min<int64_t>(columns - i, 16)));
    __m512 sum = _mm512_loadu_ps(sums + i);
    if constexpr (write == Write::kAdd) sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(here, to + i));
    _mm512_mask_storeu_ps(to + i, here, sum);
  }
}

// c [rows, columns] (+)= sums [32, 32]
template <class Out>
inline void write_block(const float* sums, int64_t rows, int64_t columns, Write write, Out* c, int64_t stride) {
  if constexpr (std::is_same_v<Out, BFloat16>)
    if (write == Write::kSet && columns == kSide) {
      for (int64_t row = 0; row < rows; ++row) {
        const __m512 low = _mm512_load_ps(sums + row * kSide), high = _mm512_load_ps(sums + row * kSide + 16);
        _mm512_storeu_si512(c + row * stride, (__m512i)_mm512_cvtne2ps_pbh(high, low));
      }
      return;
    }
  for (int64_t row = 0; row < rows; ++row) {
    if (write == Write::kAdd)
      write_row<Write::kAdd>(sums + row * kSide, columns, c + row * stride);
    else
      write_row<Write::kSet>(sums + row * kSide, columns, c + row * stride);
  }
}

// sums [32, 32] = or += left right
template <class Unit>
inline void multiply_block(int64_t steps, const BFloat16* left, const BFloat16* right, bool add, float* sums,
                           int64_t stride) {
  if (add)
    Unit::template multiply<true>(steps, left, right, sums, stride);
  else
    Unit::template multiply<false>(steps, left, right, sums, stride);
}

// A strip times a panel. `rows` and `columns` are what is left of c, perhaps more than the block. `kept`: where a bf16
// result's sums are from one block of the inner dimension to the next.
template <class Unit>
inline void strip_times_panel(int64_t steps, const BFloat16* strip, const BFloat16* panel, int64_t rows,
                              int64_t columns, bool is_first, bool is_last, Write write, BFloat16* c, int64_t stride,
                              float* kept) {
  multiply_block<Unit>(steps, strip, panel, !is_first, kept, kSide);
  if (is_last) write_block(kept, std::min(rows, kSide), std::min(columns, kSide), write, c, stride);
}
template <class Unit>
inline void strip_times_panel(int64_t steps, const BFloat16* strip, const BFloat16* panel, int64_t rows,
                              int64_t columns, bool is_first, bool, Write write, float* c, int64_t stride, float*) {
  const bool add = write == Write::kAdd || !is_first;
  if (rows >= kSide && columns >= kSide) return multiply_block<Unit>(steps, strip, panel, add, c, stride);
  alignas(64) float sums[kBlock];
  multiply_block<Unit>(steps, strip, panel, false, sums, kSide);
  write_block(sums, std::min(rows, kSide), std::min(columns, kSide), add ? Write::kAdd : Write::kSet, c, stride);
}

// A factor in memory.
struct Operand {
  explicit Operand(const Matrix& x)
      : data(x.of.data<BFloat16>()), stride(x.of.extent(1)), across(x.transpose == Transpose::kYes) {}
  const BFloat16* data;
  int64_t stride;
  bool across;  // transposed
};

struct Sizes {
  int64_t rows, columns, inner;
};

int64_t padded(int64_t count) { return round_up(count, kSide); }

template <class Unit, class Out>
void multiply(const Matrix& left, const Matrix& right, Write write, const Tensor& result, Scratch& scratch) {
  const Operand a(left), b(right);
  Out* const c = result.data<Out>();
  const Sizes s{result.extent(0), result.extent(1), a.across ? left.of.extent(0) : left.of.extent(1)};
  const int64_t all_steps = steps_of(s.inner), blocks = (all_steps + kBlockSteps - 1) / kBlockSteps;
  const int64_t block_steps = (all_steps + blocks - 1) / blocks;
  const int64_t panels = padded(s.columns) / kSide;  // of all columns
  const bool keeps = std::is_same_v<Out, BFloat16> && blocks > 1;
  const int64_t most_rows = keeps ? std::max(kMostSums / (panels * kBlock), int64_t{1}) * kSide : kBlockRows;
  const int64_t block_rows = std::min({kBlockRows, most_rows, padded(s.rows)});
  const int64_t block_columns = std::min(kBlockColumns, padded(s.columns));
  const int64_t strip = block_steps * kStep;  // elements; of a panel too
  const int64_t strip_floats = block_rows / kSide * strip / 2, panel_floats = block_columns / kSide * strip / 2;
  const int64_t kept_floats = keeps ? block_rows * panels * kSide : kBlock;
  scratch.reserve({strip_floats, panel_floats, kept_floats});
  auto* const strips = reinterpret_cast<BFloat16*>(scratch.take(strip_floats));
  auto* const packed = reinterpret_cast<BFloat16*>(scratch.take(panel_floats));
  float* const kept = scratch.take(kept_floats);

  [[maybe_unused]] const typename Unit::Session session;
  for (int64_t r = 0; r < s.rows; r += block_rows) {
    const int64_t rows = std::min(block_rows, s.rows - r);
    for (int64_t block = 0; block < blocks; ++block) {
      const int64_t i = block * block_steps * kSide, inner = std::min(block_steps * kSide, s.inner - i);
      const int64_t steps = steps_of(inner);
      for (int64_t row = 0; row < rows; row += kSide) {
        BFloat16* const to = strips + row / kSide * strip;
        if (a.across)
          pack_left_of_columns({a.data + i * a.stride, a.stride, inner, s.rows}, r + row, to);
        else
          pack_left({a.data + i, a.stride, s.rows, inner}, r + row, to);
      }
      for (int64_t j = 0; j < s.columns; j += block_columns) {
        const int64_t end = std::min(s.columns, j + block_columns);
        for (int64_t column = j; column < end; column += kSide) {
          BFloat16* const to = packed + (column - j) / kSide * strip;
          if (b.across)
            pack_right_of_rows({b.data + i, b.stride, s.columns, inner}, column, to);
          else
            pack_right({b.data + i * b.stride, b.stride, inner, s.columns}, column, to);
        }
        for (int64_t row = 0; row < rows; row += kSide)
          for (int64_t column = j; column < end; column += kSide)
            strip_times_panel<Unit>(steps, strips + row / kSide * strip, packed + (column - j) / kSide * strip,
                                    rows - row, s.columns - column, block == 0, block + 1 == blocks, write,
                                    c + (r + row) * s.columns + column, s.columns,
                                    keeps ? kept + (row / kSide * panels + column / kSide) * kBlock : kept);
      }
    }
  }
}

template <class Unit>
void multiply_on(const Matrix& a, const Matrix& b, Write write, const Tensor& c, Scratch& scratch) {
  if (c.dtype() == DType::kBF16)
    multiply<Unit, BFloat16>(a, b, write, c, scratch);
  else
    multiply<Unit, float>(a, b, write, c, scratch);
}

}  // namespace

void product(MatrixUnit unit, const Matrix& a, const Matrix& b, Write write, const Tensor& c, Scratch& scratch) {
  if (c.elements() == 0) return;
  if (a.of.elements() == 0) {  // no inner dimension
    if (write == Write::kSet) std::memset(c.raw(), 0, static_cast<size_t>(c.bytes()));
    return;
  }
  CHECK(unit != MatrixUnit::kVectors, "a product in vectors");
  if (unit == MatrixUnit::kTiles)
    multiply_on<Amx>(a, b, write, c, scratch);
  else
    multiply_on<DotProducts>(a, b, write, c, scratch);
}

}  // namespace ropewalk::tiles
ROPEWALK_AFTER_TILES
