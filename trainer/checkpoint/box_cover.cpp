#include "trainer/checkpoint/box_cover.h"

#include <algorithm>

namespace ropewalk {

Box whole_box(const Shape& shape) {
  CHECK(shape.rank() == 1 || shape.rank() == 2, "a saved tensor of shape {}", shape.text());
  return shape.rank() == 2 ? Box{0, shape[0], 0, shape[1]} : Box{0, 1, 0, shape[0]};
}

Box intersection(const Box& a, const Box& b) {
  const int64_t row_begin = std::max(a.row_begin, b.row_begin);
  const int64_t column_begin = std::max(a.column_begin, b.column_begin);
  return {row_begin, std::max(row_begin, std::min(a.row_end, b.row_end)), column_begin,
          std::max(column_begin, std::min(a.column_end, b.column_end))};
}

bool contains(const Box& outer, const Box& inner) {
  return outer.row_begin <= inner.row_begin && inner.row_begin <= inner.row_end && inner.row_end <= outer.row_end &&
         outer.column_begin <= inner.column_begin && inner.column_begin <= inner.column_end &&
         inner.column_end <= outer.column_end;
}

std::vector<int64_t> extents_of(const Box& box, int rank) {
  return rank == 1 ? std::vector{box.columns()} : std::vector{box.rows(), box.columns()};
}

std::string text_of(const Box& box) {
  return fmt::format("rows {}..{}, columns {}..{}", box.row_begin, box.row_end, box.column_begin, box.column_end);
}

// The rows where a part begins or ends cut `whole` into bands. In a band all parts have the same rows, so they must
// follow one another from the first column to the last.
std::optional<CoverDefect> find_cover_defect(const Box& whole, std::span<const Box> parts) {
  std::vector<Box> waiting;
  std::vector<int64_t> cuts = {whole.row_begin, whole.row_end};
  for (const Box& part : parts) {
    if (part.elements() == 0) continue;
    waiting.push_back(part);
    cuts.push_back(part.row_begin);
    cuts.push_back(part.row_end);
  }
  std::sort(waiting.begin(), waiting.end(), [](const Box& a, const Box& b) { return a.row_begin < b.row_begin; });
  std::sort(cuts.begin(), cuts.end());
  cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());

  std::vector<Box> band;
  size_t next = 0;
  for (size_t cut = 0; cut + 1 < cuts.size(); ++cut) {
    const int64_t begin = cuts[cut], end = cuts[cut + 1];
    std::erase_if(band, [&](const Box& part) { return part.row_end <= begin; });
    while (next < waiting.size() && waiting[next].row_begin <= begin) band.push_back(waiting[next++]);
    std::sort(band.begin(), band.end(), [](const Box& a, const Box& b) { return a.column_begin < b.column_begin; });
    int64_t column = whole.column_begin;
    for (const Box& part : band) {
      if (part.column_begin > column) return CoverDefect{{begin, end, column, part.column_begin}, true};
      if (part.column_begin < column) {
        return CoverDefect{{begin, end, part.column_begin, std::min(column, part.column_end)}, false};
      }
      column = part.column_end;
    }
    if (column < whole.column_end) return CoverDefect{{begin, end, column, whole.column_end}, true};
  }
  return std::nullopt;
}

}  // namespace ropewalk
