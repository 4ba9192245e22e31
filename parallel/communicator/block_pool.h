// Best-fit free list of staging buffers. Released blocks stay allocated until the pool is destroyed, so MPI may still
// write to them after a failed wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace ropewalk {

class BlockPool {
 public:
  class Block {  // returns itself to the pool, which must outlive it
   public:
    Block(Block&& other) noexcept
        : pool_(other.pool_), memory_(std::exchange(other.memory_, nullptr)), bytes_(other.bytes_) {}
    Block& operator=(Block&&) = delete;
    ~Block() {
      if (memory_) pool_->free_.push_back({memory_, bytes_});
    }
    std::byte* data() const { return static_cast<std::byte*>(memory_); }

   private:
    friend class BlockPool;
    Block(BlockPool& pool, void* memory, int64_t bytes) : pool_(&pool), memory_(memory), bytes_(bytes) {}

    BlockPool* pool_;
    void* memory_;
    int64_t bytes_;
  };

  BlockPool(std::function<void*(int64_t bytes)> allocate, std::function<void(void*)> release)
      : allocate_(std::move(allocate)), release_(std::move(release)) {}
  ~BlockPool() {
    for (const Free& block : free_) release_(block.memory);
  }
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // The smallest free block of at least `bytes`; a new one if there is none.
  Block take(int64_t bytes) {
    auto best = free_.end();
    for (auto block = free_.begin(); block != free_.end(); ++block)
      if (block->bytes >= bytes && (best == free_.end() || block->bytes < best->bytes)) best = block;
    if (best == free_.end()) return Block(*this, allocate_(bytes), bytes);
    const Free found = *best;
    free_.erase(best);
    return Block(*this, found.memory, found.bytes);
  }

 private:
  struct Free {
    void* memory;
    int64_t bytes;
  };
  std::function<void*(int64_t)> allocate_;
  std::function<void(void*)> release_;
  std::vector<Free> free_;
};

}  // namespace ropewalk
