// Boxes of global tensors: how they meet, and whether they make up a whole.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "trainer/model/parameters.h"

namespace ropewalk {

Box whole_box(const Shape& shape);             // of [rows, columns] or [columns]
Box intersection(const Box& a, const Box& b);  // without elements where they do not meet
bool contains(const Box& outer, const Box& inner);
std::string text_of(const Box& box);  // "rows 0..64, columns 0..128"

// A range of `whole` that is covered by none of the parts, or by more than one.
struct CoverDefect {
  Box range;
  bool missing;
};
// The first defect, by rows; none if the parts, which lie inside `whole`, cover each of its elements exactly once.
std::optional<CoverDefect> find_cover_defect(const Box& whole, std::span<const Box> parts);

}  // namespace ropewalk
