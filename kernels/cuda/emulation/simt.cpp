#include "kernels/cuda/emulation/simt.h"

#include <algorithm>
#include <numeric>

#include "kernels/cuda/emulation/block.h"

namespace ropewalk::simt {
namespace {

constexpr size_t kMostBlocks = 8;  // at a time

// The blocks of a grid, which start one after another in random order.
class Blocks {
 public:
  Blocks(Index grid, Index block, size_t shared_bytes, const std::function<void()>& thread)
      : grid_(grid), block_(block), shared_bytes_(shared_bytes), thread_(thread), left_(size_t{grid.x} * grid.y) {
    std::iota(left_.begin(), left_.end(), size_t{0});
    std::shuffle(left_.begin(), left_.end(), draw());
  }

  void run() {
    while (!left_.empty() || !begun_.empty()) {
      bool moved = false;
      for (const auto& block : begun_) moved |= block->go_on();
      moved |= retire();
      if (moved && (left_.empty() || !is_early())) continue;
      if (!left_.empty() && begun_.size() < kMostBlocks)
        begin_another();
      else
        CHECK(moved, "thread {} of block ({}, {}) waits at a barrier that others do not come to",
              begun_.front()->waiting()->index.x, begun_.front()->index().x, begun_.front()->index().y);
    }
  }

 private:
  bool retire() {
    const auto done = std::ranges::partition(begun_, [](const auto& block) { return !block->is_done(); });
    const bool any = !done.empty();
    std::ranges::move(done, std::back_inserter(idle_));
    begun_.erase(done.begin(), done.end());
    return any;
  }

  // Whether to start a block although others can continue: at random, in kernels with asynchronous operations, whose
  // blocks may wait for each other.
  bool is_early() const { return !begun_.empty() && begun_.front()->is_asynchronous() && one_in(32); }
  void begin_another() {
    if (idle_.empty()) idle_.push_back(std::make_unique<Block>(block_.x, shared_bytes_));
    begun_.push_back(std::move(idle_.back()));
    idle_.pop_back();
    const size_t next = left_.back();
    left_.pop_back();
    begun_.back()->begin({static_cast<unsigned>(next % grid_.x), static_cast<unsigned>(next / grid_.x), 0}, thread_);
  }

  const Index grid_, block_;
  const size_t shared_bytes_;
  const std::function<void()>& thread_;
  std::vector<size_t> left_;  // indices of blocks that have not started; the last starts next
  std::vector<std::unique_ptr<Block>> begun_, idle_;
};

}  // namespace

void run(Index grid, Index block, size_t shared_bytes, const std::function<void()>& thread) {
  CHECK(block.x % kWarp == 0 && block.x <= 1024 && block.y == 1 && block.z == 1, "a block of {} x {} x {} threads",
        block.x, block.y, block.z);
  CHECK(grid.x > 0 && grid.y > 0 && grid.z == 1 && grid.x < (1u << 31) && grid.y < (1u << 16),
        "a grid of {} x {} x {} blocks", grid.x, grid.y, grid.z);
  CHECK(shared_bytes <= 227 << 10, "{} bytes of shared memory", shared_bytes);
  CHECK(!running, "a kernel launched by a kernel");
  block_size = block;
  grid_size = grid;
  struct End {
    ~End() { running = nullptr; }
  } end;
  Blocks(grid, block, shared_bytes, thread).run();
}

unsigned char* shared_memory() { return running->shared(); }
void sync_block() { running->wait(State::kAtBlockBarrier); }
void sync_warp() { running->wait(State::kAtWarpBarrier); }
uint64_t from_lane(uint64_t mine, unsigned lane) { return running->from_lane(mine, lane); }

void check_aligned(const void* at, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes != 0)
    running->fail(fmt::format("{} bytes at {} are not aligned", bytes, at));
}

}  // namespace ropewalk::simt
