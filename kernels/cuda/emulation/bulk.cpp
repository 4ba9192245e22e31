// PTX ISA, "Tensors" (bounding boxes, out-of-boundary access, swizzling modes), "cp.async.bulk.tensor",
// "cp.reduce.async.bulk", "cp.async.bulk.commit_group", "cp.async.bulk.wait_group".
#include <algorithm>
#include <cstring>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {
namespace {

constexpr size_t kRowBytes = 128, kPieceBytes = 16;

int rows_of_box(Block& block, const TensorMap& map, int dimensions) {
  if (dimensions != map.dimensions)
    block.fail(fmt::format("{} coordinates in a tensor of {} dimensions", dimensions, map.dimensions));
  int rows = 1;
  for (int d = 1; d < dimensions; ++d) rows *= map.box[d];
  return rows;
}

// The offset in elements, from the tensor's base, of column 0 of row `row` of the box at coordinates `at`; -1 if the
// row is outside the tensor.
int64_t row_of_box(const TensorMap& map, const int* at, int row) {
  int64_t from = 0;
  for (int d = 1, rest = row; d < map.dimensions; rest /= map.box[d], ++d) {
    const int64_t i = at[d] + rest % map.box[d];
    if (i < 0 || i >= map.extents[d]) return -1;
    from += i * map.strides[d];
  }
  return from;
}

}  // namespace

void TileCopies::ask(void* shared, const TensorMap& map, uint64_t* barrier, const int* at, int dimensions) {
  const int rows = rows_of_box(block_, map, dimensions);
  const size_t bytes = static_cast<size_t>(rows) * kRowBytes;
  view_.check(shared, bytes, 8 * kRowBytes);
  barriers_.check_published(barrier);
  view_.poison(shared, bytes);
  Piece piece{map, view_.address(shared), barrier, {}, 0, rows};
  std::copy_n(at, dimensions, piece.at.begin());
  for (int begin = 0; begin < rows; begin = piece.end) {
    piece.begin = begin;
    piece.end = one_in(2) ? rows : begin + 1 + static_cast<int>(draw()() % static_cast<unsigned>(rows - begin));
    ++under_way_;
    steps_.add([this, piece] { deliver(piece); });
  }
}

void TileCopies::deliver(const Piece& piece) {
  const TensorMap& map = piece.map;
  for (int row = piece.begin; row < piece.end; ++row) {
    uint16_t numbers[kRowBytes / sizeof(uint16_t)] = {};
    const int64_t from = row_of_box(map, piece.at.data(), row);
    if (from >= 0)
      for (int64_t i = 0; i < map.box[0]; ++i) {
        const int64_t column = piece.at[0] + i;
        if (column >= 0 && column < map.extents[0]) numbers[i] = static_cast<const uint16_t*>(map.base)[from + column];
      }
    for (size_t i = 0; i < kRowBytes; i += kPieceBytes)
      view_.write(swizzled(piece.to + static_cast<uint32_t>(static_cast<size_t>(row) * kRowBytes + i)),
                  numbers + i / sizeof(uint16_t), kPieceBytes);
  }
  --under_way_;
  barriers_.complete(piece.barrier, static_cast<uint32_t>(piece.end - piece.begin) * kRowBytes);
}

void TileCopies::end() const {
  if (under_way_ > 0) block_.fail("ends while tiles are on their way");
}

void BulkSums::ask(const TensorMap& map, const float* shared, const int* at, int dimensions) {
  const int rows = rows_of_box(block_, map, dimensions);
  if (map.element_bytes != sizeof(float)) block_.fail("a sum into a tensor that is not of floats");
  view_.check(shared, static_cast<size_t>(rows) * kRowBytes, 8 * kRowBytes);
  auto sum = std::make_shared<Sum>();
  for (int row = 0; row < rows; ++row) {
    const int64_t to = row_of_box(map, at, row);
    if (to < 0) continue;
    auto* const base = static_cast<float*>(const_cast<void*>(map.base));
    for (int i = 0; i < map.box[0]; ++i) {
      const int64_t column = at[0] + i;
      if (column < 0 || column >= map.extents[0]) continue;
      const size_t place = static_cast<size_t>(row) * kRowBytes + static_cast<size_t>(i) * sizeof(float);
      sum->terms.push_back({base + to + column, swizzled(view_.address(shared) + static_cast<uint32_t>(place)), 0});
    }
  }
  threads_[block_.thread()].open.push_back(sum);
  steps_.add([this, sum] { read(sum); });
}

void BulkSums::commit() {
  Thread& me = threads_[block_.thread()];
  me.groups.push_back(std::move(me.open));
  me.open.clear();
}

void BulkSums::wait(int newest_groups, bool read_only) {
  auto& groups = threads_[block_.thread()].groups;
  const size_t newest = static_cast<size_t>(newest_groups), done = groups.size() > newest ? groups.size() - newest : 0;
  block_.wait_until([&groups, done, read_only] {
    const auto is_over = [read_only](const auto& sum) { return read_only ? sum->read : sum->added; };
    return std::all_of(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(done),
                       [&](const Group& group) { return std::ranges::all_of(group, is_over); });
  });
  if (!read_only) groups.erase(groups.begin(), groups.begin() + static_cast<std::ptrdiff_t>(done));
}

void BulkSums::read(const std::shared_ptr<Sum>& sum) {
  for (Term& term : sum->terms) std::memcpy(&term.value, view_.at(term.from, sizeof(float)), sizeof(float));
  sum->read = true;
  steps_.add([this, sum] { add(*sum); });
}

void BulkSums::add(Sum& sum) {
  for (const Term& term : sum.terms) *term.to += term.value;
  sum.added = true;
}

// A thread must not end before its additions have read shared memory.
void BulkSums::check_end_of_thread() {
  const Thread& me = threads_[block_.thread()];
  const auto is_read = [](const Group& group) {
    return std::ranges::all_of(group, [](const auto& sum) { return sum->read; });
  };
  if (!me.open.empty() || !std::ranges::all_of(me.groups, is_read)) block_.fail("ends while its sums are under way");
}

}  // namespace ropewalk::simt
