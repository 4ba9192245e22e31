// The largest block of memory that a parser asks for.
#pragma once

#include <sanitizer/allocator_interface.h>

#include <algorithm>
#include <cstddef>

#include "kernels/error.h"

namespace ropewalk {

inline size_t largest_block_noted = 0;

// Calls `parse`, and returns the bytes of the largest block that was allocated meanwhile. If `parse` throws, so does
// this.
inline size_t largest_block(const auto& parse) {
  static const bool noting =
      __sanitizer_install_malloc_and_free_hooks(
          [](const volatile void*, size_t bytes) { largest_block_noted = std::max(largest_block_noted, bytes); },
          [](const volatile void*) {}) > 0;
  CHECK(noting, "the sizes of memory blocks are not noted");
  largest_block_noted = 0;
  parse();
  return largest_block_noted;
}

}  // namespace ropewalk
