// Memory of a step: tensors are handed out in stack order and given back together, from one block that is reserved
// before the first step. What goes beyond it takes further blocks, which are kept.
#pragma once

#include <memory>
#include <vector>

#include "kernels/tensor.h"

namespace ropewalk {

class Kernels;

class Arena {
 public:
  explicit Arena(Kernels& kernels, int64_t block_bytes = 64 << 20) : kernels_(kernels), block_bytes_(block_bytes) {}
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // One block for all that follows, while there is none. Throws DeviceError where there is not so much memory.
  void reserve(int64_t bytes);

  // Uninitialised; valid until the enclosing ArenaScope ends.
  Tensor allocate(DType dtype, Shape shape);

  int64_t used_bytes() const { return used_; }
  int64_t peak_bytes() const { return peak_; }
  int64_t reserved_bytes() const;

 private:
  friend class ArenaScope;
  struct Position {
    size_t block = 0;
    int64_t offset = 0;
    int64_t used = 0;
  };
  Position position() const { return {block_, offset_, used_}; }
  void release(Position position);

  Kernels& kernels_;
  int64_t block_bytes_;
  std::vector<std::unique_ptr<Buffer>> blocks_;
  size_t block_ = 0;    // the block being filled
  int64_t offset_ = 0;  // bytes taken from it
  int64_t used_ = 0, peak_ = 0;
};

// Gives back, when it ends, everything allocated from the arena since it began.
class ArenaScope {
 public:
  explicit ArenaScope(Arena& arena) : arena_(arena), position_(arena.position()) {}
  ~ArenaScope() { arena_.release(position_); }
  ArenaScope(const ArenaScope&) = delete;
  ArenaScope& operator=(const ArenaScope&) = delete;

 private:
  Arena& arena_;
  Arena::Position position_;
};

}  // namespace ropewalk
