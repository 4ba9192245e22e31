// The blocks, from the outermost to the innermost:
//
//   rows of c and, if their sums are kept from one inner block to the next, columns: what is kept is bounded
//   the inner dimension: columns of a that are transposed are packed here, for all strips of 32 rows
//   columns of c: their panels of b are packed here, and stay in the second cache
//   strips of a
//   parts of the inner dimension: the part of the strip stays in the first cache
//   panels of b, each read once from the second cache
//
// Meanwhile what the next strip and the next block of c need comes from memory to the second cache. An fp32 result is
// summed in place. The sums of a bf16 result stay in scratch memory until the inner dimension ends, and are rounded
// then.
#include "kernels/cpu/tiles/product.h"

#include <cstring>

#include "kernels/cpu/tiles/packing-inl.h"
#include "kernels/error.h"
#include "kernels/range.h"

ROPEWALK_BEFORE_TILES
namespace ropewalk::tiles {
namespace {

// The largest blocks. An inner block of columns of a that are transposed has 4 MiB, panels have 1 MiB of a second cache
// of 2 MiB, a part of a strip 32 KiB of a first cache of 48 KiB.
constexpr int64_t kBlockRows = 2048, kBlockSteps = 32, kPanelBytes = 1 << 20, kPartSteps = 16;

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
template <class Unit, class Meanwhile>
inline void multiply_block(int64_t steps, Left left, const BFloat16* right, bool add, float* sums, int64_t stride,
                           const Meanwhile& meanwhile) {
  if (add)
    Unit::template multiply<true>(steps, left, right, sums, stride, meanwhile);
  else
    Unit::template multiply<false>(steps, left, right, sums, stride, meanwhile);
}

// Where in the inner dimension a part is.
struct Part {
  int64_t begin, steps;  // in its block
  bool is_first, is_last;
};

// A strip times a panel. `rows` and `columns` are what is left of c, perhaps more than the block. `kept`: where a bf16
// result's sums are from one part to the next.
template <class Unit, class Meanwhile>
inline void strip_times_panel(const Part& part, Left strip, const BFloat16* panel, int64_t rows, int64_t columns,
                              Write write, BFloat16* c, int64_t stride, float* kept, const Meanwhile& meanwhile) {
  multiply_block<Unit>(part.steps, strip, panel, !part.is_first, kept, kSide, meanwhile);
  if (part.is_last) write_block(kept, std::min(rows, kSide), std::min(columns, kSide), write, c, stride);
}
template <class Unit, class Meanwhile>
inline void strip_times_panel(const Part& part, Left strip, const BFloat16* panel, int64_t rows, int64_t columns,
                              Write write, float* c, int64_t stride, float*, const Meanwhile& meanwhile) {
  const bool add = write == Write::kAdd || !part.is_first;
  if (rows >= kSide && columns >= kSide)
    return multiply_block<Unit>(part.steps, strip, panel, add, c, stride, meanwhile);
  alignas(64) float sums[kBlock];
  multiply_block<Unit>(part.steps, strip, panel, false, sums, kSide, meanwhile);
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
        inner_(a.of.extent(a_.across ? 0 : 1)),
        blocks_(count_of(steps_of(inner_), kBlockSteps)),
        block_steps_(count_of(steps_of(inner_), blocks_)) {
    const int64_t all_panels = steps_of(columns_), strips = steps_of(std::min(rows_, kBlockRows));
    const int64_t column_blocks = count_of(all_panels * operand() * size_of(DType::kBF16), kPanelBytes);
    block_panels_ = count_of(all_panels, column_blocks);
    const int64_t packed = a_.across ? strips * operand() : kPartSteps * kStep, panels = block_panels_ * operand();
    const int64_t kept = (keeps_all() ? strips : 1) * block_panels_ * kBlock;
    scratch.reserve({packed / 2, panels / 2, kept});
    packed_ = reinterpret_cast<BFloat16*>(scratch.take(packed / 2));
    panels_ = reinterpret_cast<BFloat16*>(scratch.take(panels / 2));
    kept_ = scratch.take(kept);
  }

  void compute() {
    [[maybe_unused]] const typename Unit::Session session;
    const int64_t at_once = keeps_all() ? block_columns() : columns_;
    for (int64_t row = 0; row < rows_; row += kBlockRows) {
      const Range rows{row, std::min(rows_, row + kBlockRows)};
      for (int64_t column = 0; column < columns_; column += at_once)
        multiply(rows, {column, std::min(columns_, column + at_once)});
    }
  }

 private:
  static int64_t count_of(int64_t size, int64_t block) { return (size + block - 1) / block; }
  int64_t operand() const { return block_steps_ * kStep; }  // elements of a strip's or panel's block
  // Whether the sums of a bf16 result must be kept from one block of the inner dimension to the next.
  bool keeps_all() const { return std::is_same_v<Out, BFloat16> && blocks_ > 1; }

  int64_t block_columns() const { return block_panels_ * kSide; }

  void multiply(Range rows, Range columns) const {
    for (int64_t block = 0; block < blocks_; ++block) {
      const int64_t i = block * block_steps_ * kSide;
      const Range inner{i, std::min(inner_, i + block_steps_ * kSide)};
      if (a_.across) pack_strips(rows, inner);
      for (int64_t column = columns.begin; column < columns.end; column += block_columns()) {
        const Range here{column, std::min(columns.end, column + block_columns())};
        pack_panels(here, inner);
        multiply_block_of_columns(block, rows, here, inner);
      }
    }
  }

  // Reads whole rows of the matrix, so that the processor's prefetching follows.
  void pack_strips(Range rows, Range inner) const {
    for (int64_t i = inner.begin, step = 0; i < inner.end; i += kSide, ++step)
      for (int64_t row = rows.begin, strip = 0; row < rows.end; row += kSide, ++strip)
        pack_left_of_columns({a_.data + i * a_.stride, a_.stride, std::min(kSide, inner.end - i), rows_}, row,
                             packed_ + strip * operand() + step * kStep);
  }
  void pack_panels(Range columns, Range inner) const {
    const int64_t panels = steps_of(columns.size());
    if (b_.across) {
      for (int64_t panel = 0; panel < panels; ++panel)
        pack_right_of_rows({b_.data + inner.begin, b_.stride, columns_, inner.size()}, columns.begin + panel * kSide,
                           panels_ + panel * operand());
    } else {
      for (int64_t i = inner.begin, step = 0; i < inner.end; i += kSide, ++step)
        for (int64_t panel = 0; panel < panels; ++panel)
          pack_right({b_.data + i * b_.stride, b_.stride, std::min(kSide, inner.end - i), columns_},
                     columns.begin + panel * kSide, panels_ + panel * operand() + step * kStep);
    }
  }

  // Whole rows of a that begin at cache lines are read where they are, unless they lie in the same sets of the first
  // cache.
  bool in_place(int64_t row, Range inner) const {
    constexpr int64_t kLine = 64, kHalfOfSets = 2048;  // bytes
    const int64_t row_bytes = 2 * a_.stride;
    return !a_.across && row + kSide <= rows_ && inner.size() % kSide == 0 && row_bytes % kLine == 0 &&
           row_bytes % kHalfOfSets != 0 && reinterpret_cast<uintptr_t>(a_.data) % kLine == 0;
  }
  // The strip in memory.
  Left strip_at(int64_t row, Range rows, Range inner) const {
    if (a_.across) return packed_ + (row - rows.begin) / kSide * operand();
    return {a_.data + row * a_.stride + inner.begin, a_.stride};
  }
  Left part_of(Left strip, const Part& part, int64_t row, Range inner) const {
    if (!a_.across && !in_place(row, inner)) {
      const int64_t first = inner.begin + part.begin * kSide;
      pack_left({a_.data + first, a_.stride, rows_, std::min(part.steps * kSide, inner.end - first)}, row, packed_);
      return packed_;
    }
    strip.data += part.begin * strip.step_stride;
    return strip;
  }

  void multiply_block_of_columns(int64_t block, Range rows, Range columns, Range inner) const {
    const int64_t steps = steps_of(inner.size()), panels = steps_of(columns.size());
    const int64_t parts = count_of(steps, kPartSteps);
    for (int64_t row = rows.begin; row < rows.end; row += kSide) {
      const Left strip = strip_at(row, rows, inner);
      const Left next = strip_at(std::min(row + kSide, rows.end - 1), rows, inner);
      float* const kept = kept_ + (keeps_all() ? (row - rows.begin) / kSide * block_panels_ * kBlock : 0);
      for (int64_t i = 0; i < parts; ++i) {
        const int64_t begin = i * steps / parts;
        const Part part{begin, (i + 1) * steps / parts - begin, block + i == 0, block + 1 == blocks_ && i + 1 == parts};
        const Left left = part_of(strip, part, row, inner);
        for (int64_t panel = 0; panel < panels; ++panel) {
          const int64_t column = columns.begin + panel * kSide;
          Out* const c = c_ + row * columns_ + column;
          strip_times_panel<Unit>(part, left, panels_ + panel * operand() + begin * kStep, rows_ - row,
                                  columns_ - column, write_, c, columns_, kept + panel * kBlock,
                                  Ahead(next, part, panel, panels, c, columns_));
        }
      }
    }
  }

  // Fetches, step by step, what the next strip and the next block of c will need. Where nothing is next, this harms
  // nothing.
  class Ahead {
   public:
    Ahead(const Left& next, const Part& part, int64_t panel, int64_t panels, Out* c, int64_t stride)
        : rows_(count_of(kSide, panels)),
          row_bytes_(2 * next.row_stride),
          step_bytes_(2 * next.step_stride),
          strip_(address(next.data + part.begin * next.step_stride) + panel * rows_ * row_bytes_),
          writes_(std::is_same_v<Out, float> || part.is_last),
          c_row_bytes_(stride * static_cast<int64_t>(sizeof(Out))),
          c_(address(c) + kSide * sizeof(Out)) {}

    inline __attribute__((always_inline)) void operator()(int64_t step) const {
      const char* const strip = strip_ + step * step_bytes_;
      for (int64_t row = 0; row < rows_; ++row) _mm_prefetch(strip + row * row_bytes_, _MM_HINT_T1);
      if (!writes_) return;
      constexpr int64_t kRows = kSide / kPartSteps, kLine = 64;
#pragma GCC unroll 4
      for (int64_t row = 0; row < kRows; ++row)
        for (int64_t byte = 0; byte < kSide * static_cast<int64_t>(sizeof(Out)); byte += kLine)
          __builtin_prefetch(c_ + (step * kRows + row) * c_row_bytes_ + byte, 1);
    }

   private:
    static const char* address(const void* of) { return static_cast<const char*>(of); }

    const int64_t rows_, row_bytes_, step_bytes_;
    const char* const strip_;
    const bool writes_;
    const int64_t c_row_bytes_;
    const char* const c_;
  };

  const Operand a_, b_;
  const Write write_;
  Out* const c_;
  const int64_t rows_, columns_, inner_;
  const int64_t blocks_, block_steps_;  // of the inner dimension
  int64_t block_panels_;
  BFloat16 *packed_, *panels_;  // strips, or a part of one; panels
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
