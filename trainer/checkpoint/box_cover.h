// Boxes of global tensors: intersections, and whether boxes cover a tensor exactly once.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "trainer/model/parameters.h"

namespace ropewalk {

Box whole_box(const Shape& shape);             // of [rows, columns] or [columns]
Box intersection(const Box& a, const Box& b);  // has no elements if they do not overlap
bool contains(const Box& outer, const Box& inner);
std::vector<int64_t> extents_of(const Box& box, int rank);  // [rows, columns], or [columns] for a vector (rank 1)
std::string text_of(const Box& box);                        // "rows 0..64, columns 0..128"

// A range that no part covers, or that more than one part covers.
struct CoverDefect {
  Box range;
  bool missing;  // false: covered more than once
};
// Returns the first defect, in order of rows; nullopt if the parts, which must lie inside `whole`, cover each of its
// elements exactly once.
std::optional<CoverDefect> find_cover_defect(const Box& whole, std::span<const Box> parts);

}  // namespace ropewalk
