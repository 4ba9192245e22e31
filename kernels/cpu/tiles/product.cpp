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
inline void multiply_block(int64_t steps, Left left, const BFloat16* right, bool add, float* sums, int64_t stride) {
  if (add)
    Unit::template multiply<true>(steps, left, right, sums, stride);
  else
    Unit::template multiply<false>(steps, left, right, sums, stride);
}

// A strip times a panel. `rows` and `columns` are what is left of c, perhaps more than the block. `kept`: where a bf16
// result's sums are from one block of the inner dimension to the next.
template <class Unit>
inline void strip_times_panel(int64_t steps, Left strip, const BFloat16* panel, int64_t rows, int64_t columns,
                              bool is_first, bool is_last, Write write, BFloat16* c, int64_t stride, float* kept) {
  multiply_block<Unit>(steps, strip, panel, !is_first, kept, kSide);
  if (is_last) write_block(kept, std::min(rows, kSide), std::min(columns, kSide), write, c, stride);
}
template <class Unit>
inline void strip_times_panel(int64_t steps, Left strip, const BFloat16* panel, int64_t rows, int64_t columns,
                              bool is_first, bool, Write write, float* c, int64_t stride, float*) {
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

int64_t padded(int64_t count) { return round_up(count, kSide); }

template <class Unit, class Out>
class Product {
 public:
  Product(const Matrix& a, const Matrix& b, Write write, const Tensor& c, Scratch& scratch)
      : a_(a),
        b_(b),
        write_(write),
        c_(c.data<Out>()),
        rows_(c.extent(0)),
        columns_(c.extent(1)),
        inner_(a.of.extent(a_.across ? 0 : 1)) {
    const int64_t steps = steps_of(inner_);
    blocks_ = (steps + kBlockSteps - 1) / kBlockSteps;
    block_steps_ = (steps + blocks_ - 1) / blocks_;
    keeps_ = std::is_same_v<Out, BFloat16> && blocks_ > 1;
    const int64_t most_rows = keeps_ ? std::max(kMostSums / (panels() * kBlock), int64_t{1}) * kSide : kBlockRows;
    block_rows_ = std::min({kBlockRows, most_rows, padded(rows_)});
    const int64_t strips = block_rows_ / kSide * operand() / 2, kept = keeps_ ? block_rows_ * panels() * kSide : kBlock;
    const int64_t packed = std::min(kBlockColumns, padded(columns_)) / kSide * operand() / 2;
    scratch.reserve({strips, packed, kept});
    strips_ = reinterpret_cast<BFloat16*>(scratch.take(strips));
    panels_ = reinterpret_cast<BFloat16*>(scratch.take(packed));
    kept_ = scratch.take(kept);
  }

  void compute() {
    [[maybe_unused]] const typename Unit::Session session;
    for (int64_t r = 0; r < rows_; r += block_rows_) {
      const Range rows{r, std::min(rows_, r + block_rows_)};
      for (int64_t block = 0; block < blocks_; ++block) {
        const int64_t i = block * block_steps_ * kSide;
        const Range inner{i, std::min(inner_, i + block_steps_ * kSide)};
        for (int64_t row = rows.begin; row < rows.end; row += kSide)
          if (!in_place(row, inner)) pack_strip(row, inner, strips_ + (row - rows.begin) / kSide * operand());
        for (int64_t j = 0; j < columns_; j += kBlockColumns) {
          const Range columns{j, std::min(columns_, j + kBlockColumns)};
          for (int64_t column = columns.begin; column < columns.end; column += kSide)
            pack_panel(column, inner, panels_ + (column - columns.begin) / kSide * operand());
          multiply(block, rows, columns, inner);
        }
      }
    }
  }

 private:
  int64_t panels() const { return padded(columns_) / kSide; }  // of all columns
  int64_t operand() const { return block_steps_ * kStep; }     // elements of a strip's or panel's block

  // Whole rows of a that begin at cache lines are read where they are, unless they all lie in the same cache sets.
  bool in_place(int64_t row, Range inner) const {
    constexpr int64_t kLine = 64, kSets = 4096;  // bytes
    const int64_t row_bytes = 2 * a_.stride;
    return !a_.across && row + kSide <= rows_ && inner.size() % kSide == 0 && row_bytes % kLine == 0 &&
           row_bytes % kSets != 0 && reinterpret_cast<uintptr_t>(a_.data) % kLine == 0;
  }

  void pack_strip(int64_t row, Range inner, BFloat16* to) const {
    if (a_.across)
      pack_left_of_columns({a_.data + inner.begin * a_.stride, a_.stride, inner.size(), rows_}, row, to);
    else
      pack_left({a_.data + inner.begin, a_.stride, rows_, inner.size()}, row, to);
  }

  void pack_panel(int64_t column, Range inner, BFloat16* to) const {
    if (b_.across)
      pack_right_of_rows({b_.data + inner.begin, b_.stride, columns_, inner.size()}, column, to);
    else
      pack_right({b_.data + inner.begin * b_.stride, b_.stride, inner.size(), columns_}, column, to);
  }

  void multiply(int64_t block, Range rows, Range columns, Range inner) const {
    for (int64_t row = rows.begin; row < rows.end; row += kSide) {
      const int64_t strip = (row - rows.begin) / kSide;
      const Left left = in_place(row, inner) ? Left(a_.data + row * a_.stride + inner.begin, a_.stride)
                                             : Left(strips_ + strip * operand());
      for (int64_t column = columns.begin; column < columns.end; column += kSide)
        strip_times_panel<Unit>(steps_of(inner.size()), left, panels_ + (column - columns.begin) / kSide * operand(),
                                rows_ - row, columns_ - column, block == 0, block + 1 == blocks_, write_,
                                c_ + row * columns_ + column, columns_,
                                keeps_ ? kept_ + (strip * panels() + column / kSide) * kBlock : kept_);
    }
  }

  const Operand a_, b_;
  const Write write_;
  Out* const c_;
  const int64_t rows_, columns_, inner_;
  int64_t blocks_, block_steps_;  // of the inner dimension
  int64_t block_rows_;
  bool keeps_;  // the sums of a bf16 result, from one block of the inner dimension to the next
  BFloat16 *strips_, *panels_;
  float* kept_;
};

template <class Unit>
void multiply_on(const Matrix& a, const Matrix& b, Write write, const Tensor& c, Scratch& scratch) {
  if (c.dtype() == DType::kBF16)
    Product<Unit, BFloat16>(a, b, write, c, scratch).compute();
  else
    Product<Unit, float>(a, b, write, c, scratch).compute();
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
