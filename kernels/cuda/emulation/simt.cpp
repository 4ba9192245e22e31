#include "kernels/cuda/emulation/simt.h"

#include <array>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstdlib>
#include <deque>
#include <random>
#include <vector>

#include "kernels/error.h"

namespace ropewalk::simt {

thread_local Index thread_index, block_index, block_size, grid_size;

namespace {

namespace context = boost::context;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kDone };

struct Copy {
  void* to;
  const void* from;  // null: zeros
};
constexpr size_t kCopyBytes = 16;

struct Fiber {
  context::fiber self;
  State state = State::kReady;
  Index index;
  std::deque<std::vector<Copy>> copies;  // groups on their way; the newest is still open
};

constexpr size_t kStackBytes = 128 << 10;

std::minstd_rand& draw() {
  thread_local std::minstd_rand generator;
  return generator;
}

class Block {
 public:
  Block(unsigned threads, size_t shared_bytes)
      : shared_(shared_bytes + 16), fibers_(threads), given_(threads), passed_(threads) {}

  void run(const std::function<void()>& thread);

  void wait(State barrier) {
    Fiber& me = fibers_[current_];
    me.state = barrier;
    scheduler_ = std::move(scheduler_).resume();
  }
  uint64_t from_lane(uint64_t mine, unsigned lane) {
    given_[current_] = mine;
    wait(State::kAtWarpBarrier);
    const uint64_t got = given_[current_ / kWarp * kWarp + lane];
    wait(State::kAtWarpBarrier);
    return got;
  }
  // What each lane of this warp gave in the same call.
  template <typename T>
  std::array<T, kWarp> from_warp(const T& mine) {
    const size_t warp = current_ / kWarp * kWarp;
    passed_[current_] = &mine;
    wait(State::kAtWarpBarrier);
    std::array<T, kWarp> all;
    for (size_t l = 0; l < kWarp; ++l) all[l] = *static_cast<const T*>(passed_[warp + l]);
    wait(State::kAtWarpBarrier);
    return all;
  }
  Fiber& me() { return fibers_[current_]; }
  unsigned char* shared() { return shared_.data() + 16 - reinterpret_cast<uintptr_t>(shared_.data()) % 16; }

 private:
  // Runs those of a warp that can; false where there are none.
  bool run_warp(size_t begin) {
    std::array<size_t, kWarp> ready;
    size_t count = 0;
    for (size_t i = begin; i < begin + kWarp; ++i)
      if (fibers_[i].state == State::kReady) ready[count++] = i;
    std::shuffle(ready.begin(), ready.begin() + count, draw());
    for (size_t i = 0; i < count; ++i) {
      current_ = ready[i];
      Fiber& fiber = fibers_[current_];
      thread_index = fiber.index;
      fiber.self = std::move(fiber.self).resume();
    }
    release(begin, begin + kWarp, State::kAtWarpBarrier);
    return count > 0;
  }

  // Lets go on those who have all come to the same barrier.
  void release(size_t begin, size_t end, State barrier) {
    for (size_t i = begin; i < end; ++i)
      if (fibers_[i].state != barrier && fibers_[i].state != State::kDone) return;
    for (size_t i = begin; i < end; ++i)
      if (fibers_[i].state == barrier) fibers_[i].state = State::kReady;
  }

  std::vector<unsigned char> shared_;
  std::vector<Fiber> fibers_;
  std::vector<uint64_t> given_;      // by each thread, in a shuffle
  std::vector<const void*> passed_;  // likewise, something larger
  size_t current_ = 0;
  context::fiber scheduler_;
};

thread_local Block* running = nullptr;

void arrive(const Copy& copy) {
  if (copy.from)
    std::memcpy(copy.to, copy.from, kCopyBytes);
  else
    std::memset(copy.to, 0, kCopyBytes);
}

void Block::run(const std::function<void()>& thread) {
  std::fill(shared_.begin(), shared_.end(), static_cast<unsigned char>(0xff));
  thread_local context::pooled_fixedsize_stack stacks(kStackBytes);
  for (size_t i = 0; i < fibers_.size(); ++i) {
    Fiber& fiber = fibers_[i];
    fiber.state = State::kReady;
    fiber.index = {static_cast<unsigned>(i), 0, 0};
    fiber.copies.assign(1, {});
    fiber.self = context::fiber(std::allocator_arg, stacks, [this, &thread](context::fiber&& scheduler) {
      scheduler_ = std::move(scheduler);
      thread();
      fibers_[current_].state = State::kDone;
      return std::move(scheduler_);
    });
  }
  std::vector<size_t> warps;
  for (size_t begin = 0; begin < fibers_.size(); begin += kWarp) warps.push_back(begin);
  bool moved = true;
  while (moved) {
    moved = false;
    std::shuffle(warps.begin(), warps.end(), draw());
    for (size_t begin : warps)
      while (run_warp(begin)) moved = true;
    release(0, fibers_.size(), State::kAtBlockBarrier);
  }
  for (const Fiber& fiber : fibers_)
    CHECK(fiber.state == State::kDone, "thread {} of block ({}, {}) waits at a barrier that others do not come to",
          fiber.index.x, block_index.x, block_index.y);
}

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
  Block here(block.x, shared_bytes);
  running = &here;
  struct End {
    ~End() { running = nullptr; }
  } end;
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; ++x) {
      block_index = {x, y, 0};
      here.run(thread);
    }
}

unsigned char* shared_memory() { return running->shared(); }
void sync_block() { running->wait(State::kAtBlockBarrier); }
void sync_warp() { running->wait(State::kAtWarpBarrier); }
uint64_t from_lane(uint64_t mine, unsigned lane) { return running->from_lane(mine, lane); }

namespace {

float of_pair(uint32_t pair, int which) { return std::bit_cast<float>(which ? pair & 0xffff0000u : pair << 16); }

}  // namespace

void multiply_add(float (&c)[4], const uint32_t (&a_and_b)[6]) {
  std::array<uint32_t, 6> mine;
  std::copy(std::begin(a_and_b), std::end(a_and_b), mine.begin());
  const auto warp = running->from_warp(mine);
  const auto a = [&](unsigned row, unsigned k) {
    return of_pair(warp[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2], k % 2);
  };
  const auto b = [&](unsigned k, unsigned column) { return of_pair(warp[column * 4 + k % 8 / 2][4 + k / 8], k % 2); };
  for (unsigned i = 0; i < 4; ++i)
    for (unsigned k = 0; k < 16; ++k) c[i] += a(lane() / 4 + i / 2 * 8, k) * b(k, lane() % 4 * 2 + i % 2);
}

void check_aligned(const void* at, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes == 0) return;
  fmt::print(stderr, "{} bytes at {} are not aligned\n", bytes, at);  // an exception would not leave the fiber
  std::abort();
}

void load_matrices(uint32_t (&r)[4], const void* row, bool transposed) {
  check_aligned(row, 16);
  const auto rows = running->from_warp(row);
  const auto element = [&](unsigned matrix, unsigned i, unsigned j) -> uint32_t {
    return static_cast<const uint16_t*>(rows[matrix * 8 + i])[j];
  };
  const unsigned outer = lane() / 4, inner = lane() % 4 * 2;
  for (unsigned matrix = 0; matrix < 4; ++matrix)
    r[matrix] = transposed ? element(matrix, inner, outer) | element(matrix, inner + 1, outer) << 16
                           : element(matrix, outer, inner) | element(matrix, outer, inner + 1) << 16;
  sync_warp();  // nobody writes to the rows before all have read
}

void copy_async(void* shared, const void* from, bool exists) {
  check_aligned(shared, kCopyBytes);
  check_aligned(from, kCopyBytes);
  const Copy copy{shared, exists ? from : nullptr};
  if (draw()() % 2)
    arrive(copy);
  else
    running->me().copies.back().push_back(copy);
}

void commit() { running->me().copies.emplace_back(); }

void wait(int newest_groups) {
  auto& copies = running->me().copies;
  while (copies.size() > static_cast<size_t>(newest_groups) + 1) {
    std::for_each(copies.front().begin(), copies.front().end(), arrive);
    copies.pop_front();
  }
}

}  // namespace ropewalk::simt
