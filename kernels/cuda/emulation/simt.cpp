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
  size_t shuffles = 0;
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
      : shared_(shared_bytes + 16),
        fibers_(threads),
        given_{std::vector<uint64_t>(threads), std::vector<uint64_t>(threads)},
        passed_(threads),
        arrived_(threads / kWarp) {}

  void run(const std::function<void()>& thread);

  void wait(State barrier) {
    Fiber& me = fibers_[current_];
    me.state = barrier;
    scheduler_ = std::move(scheduler_).resume();
  }
  // One barrier does for a shuffle: what a lane gives next lies elsewhere, and after that it waits for all who read.
  uint64_t from_lane(uint64_t mine, unsigned lane) {
    auto& given = given_[me().shuffles++ % 2];
    given[current_] = mine;
    wait(State::kAtWarpBarrier);
    return given[current_ / kWarp * kWarp + lane];
  }
  // Calls work(what each lane of this warp gives in the same call) when the last has come. Lane has a bool `served`.
  template <typename Lane, typename Work>
  void with_warp(Lane& mine, const Work& work) {
    const size_t warp = current_ / kWarp;
    passed_[current_] = &mine;
    if (++arrived_[warp] == kWarp) {
      arrived_[warp] = 0;
      std::array<Lane*, kWarp> lanes;
      for (size_t l = 0; l < kWarp; ++l) lanes[l] = static_cast<Lane*>(passed_[warp * kWarp + l]);
      work(lanes);
      for (Lane* lane : lanes) lane->served = true;
    }
    wait(State::kAtWarpBarrier);
    if (mine.served) return;
    fmt::print(stderr, "lanes of a warp are at different calls\n");  // an exception would not leave the fiber
    std::abort();
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
  std::array<std::vector<uint64_t>, 2> given_;  // by each thread, in a shuffle and in the one before
  std::vector<void*> passed_;                   // by each thread, in a call of its whole warp
  std::vector<size_t> arrived_;                 // of each warp, at such a call
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
    fiber.shuffles = 0;
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
  struct Lane {
    float (&c)[4];
    const uint32_t (&a_and_b)[6];
    bool served = false;
  } mine{c, a_and_b};
  running->with_warp(mine, [](const std::array<Lane*, kWarp>& lanes) {
    float a[16][16], b[16][8], sums[16][8];  // a: row, k; b: k, column
    for (unsigned l = 0; l < kWarp; ++l) {
      const Lane& lane = *lanes[l];
      const unsigned outer = l / 4, inner = l % 4 * 2;
      for (unsigned i = 0; i < 2; ++i) {
        for (unsigned part = 0; part < 4; ++part)
          a[outer + part % 2 * 8][inner + part / 2 * 8 + i] = of_pair(lane.a_and_b[part], i);
        for (unsigned part = 0; part < 2; ++part) b[inner + part * 8 + i][outer] = of_pair(lane.a_and_b[4 + part], i);
        for (unsigned part = 0; part < 2; ++part) sums[outer + part * 8][inner + i] = lane.c[part * 2 + i];
      }
    }
    for (auto& row : sums)
      for (unsigned k = 0; k < 16; ++k)
        for (unsigned column = 0; column < 8; ++column) row[column] += a[&row - sums][k] * b[k][column];
    for (unsigned l = 0; l < kWarp; ++l)
      for (unsigned i = 0; i < 4; ++i) lanes[l]->c[i] = sums[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  });
}

void check_aligned(const void* at, size_t bytes) {
  if (reinterpret_cast<uintptr_t>(at) % bytes == 0) return;
  fmt::print(stderr, "{} bytes at {} are not aligned\n", bytes, at);  // an exception would not leave the fiber
  std::abort();
}

void load_matrices(uint32_t (&r)[4], const void* row, bool transposed) {
  check_aligned(row, 16);
  struct Lane {
    uint32_t (&r)[4];
    const uint16_t* row;
    bool served = false;
  } mine{r, static_cast<const uint16_t*>(row)};
  running->with_warp(mine, [transposed](const std::array<Lane*, kWarp>& lanes) {
    for (unsigned l = 0; l < kWarp; ++l) {
      const unsigned outer = l / 4, inner = l % 4 * 2;
      for (unsigned matrix = 0; matrix < 4; ++matrix) {
        const auto element = [&](unsigned i, unsigned j) -> uint32_t { return lanes[matrix * 8 + i]->row[j]; };
        lanes[l]->r[matrix] = transposed ? element(inner, outer) | element(inner + 1, outer) << 16
                                         : element(outer, inner) | element(outer, inner + 1) << 16;
      }
    }
  });
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
