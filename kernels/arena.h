// Memory of a step: tensors are allocated in stack order and released together, from one block that is reserved before
// the first step. Tensors that do not fit take further blocks, which are kept.
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

  // Allocates one block for all later tensors; call it before the first allocation. Throws DeviceError if memory is
  // short.
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

// Its destructor releases everything that was allocated from the arena since its constructor.
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
