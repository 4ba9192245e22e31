#include "kernels/cuda/emulation/block.h"

#include <sanitizer/asan_interface.h>

#include <algorithm>
#include <atomic>
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>

#include "kernels/cuda/emulation/asynchronous.h"

namespace ropewalk::simt {

constinit thread_local Index thread_index, block_index, block_size, grid_size;
constinit thread_local Block* running = nullptr;

namespace context = boost::context;

struct Context {
  context::fiber fiber;
  context::stack_context stack;

  void resume() { fiber = std::move(fiber).resume(); }
};

namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kSharedAlignment = 1024;

class Stacks {
 public:
  context::stack_context allocate() { return last_ = stacks_.allocate(); }
  void deallocate(context::stack_context& stack) noexcept { stacks_.deallocate(stack); }
  const context::stack_context& last() const { return last_; }

 private:
  context::pooled_fixedsize_stack stacks_{kStackBytes};
  context::stack_context last_;
};

}  // namespace

// Seeded differently for each device of a process, and the same in every process.
std::minstd_rand& draw() {
  static std::atomic<unsigned> threads = 0;
  thread_local std::minstd_rand generator(++threads);
  return generator;
}

Block::Block(unsigned threads, size_t shared_bytes)
    : shared_bytes_(shared_bytes),
      shared_(shared_bytes + kSharedAlignment),
      scheduler_(std::make_unique<Context>()),
      fibers_(threads),
      given_{std::vector<uint64_t>(threads), std::vector<uint64_t>(threads)},
      passed_(threads),
      arrived_(threads / kWarp) {
  for (Fiber& fiber : fibers_) fiber.self = std::make_unique<Context>();
  for (size_t begin = 0; begin < threads; begin += kWarp) warps_.push_back(begin);
}
// After a failure some fibers are not done, and are unwound by an exception. The address sanitizer does not know their
// stacks, and would leave the poisoned redzones of their frames there.
Block::~Block() {
  for (const Fiber& fiber : fibers_)
    if (fiber.state != State::kDone) {
      const context::stack_context& stack = fiber.self->stack;
      ASAN_UNPOISON_MEMORY_REGION(static_cast<char*>(stack.sp) - stack.size, stack.size);
    }
}

unsigned char* Block::shared() const {
  const auto at = reinterpret_cast<uintptr_t>(shared_.data());
  return reinterpret_cast<unsigned char*>((at + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment);
}

Asynchronous& Block::asynchronous() {
  if (!asynchronous_) asynchronous_ = std::make_unique<Asynchronous>(*this);
  return *asynchronous_;
}

void Block::begin(Index at, const std::function<void()>& thread) {
  index_ = at;
  std::fill(shared_.begin(), shared_.end(), kPoison);
  asynchronous_.reset();
  thread_local Stacks stacks;
  for (size_t i = 0; i < fibers_.size(); ++i) {
    Fiber& fiber = fibers_[i];
    fiber.state = State::kReady;
    fiber.shuffles = 0;
    fiber.index = {static_cast<unsigned>(i), 0, 0};
    fiber.copies.assign(1, {});
    fiber.self->fiber = context::fiber(std::allocator_arg, stacks, [this, &thread](context::fiber&& scheduler) {
      scheduler_->fiber = std::move(scheduler);
      thread();
      end_thread();
      return std::move(scheduler_->fiber);
    });
    fiber.self->stack = stacks.last();
  }
}

void Block::end_thread() {
  if (asynchronous_) asynchronous_->check_end_of_thread();
  fibers_[current_].state = State::kDone;
}

void Block::wait(State barrier) {
  fibers_[current_].state = barrier;
  scheduler_->resume();
}

void Block::fail(const std::string& why) {
  CHECK(in_thread_, "block ({}, {}): {}", index_.x, index_.y, why);
  failure_ = fmt::format("thread {} of block ({}, {}): {}", current_, index_.x, index_.y, why);
  while (true) wait(State::kWaiting);  // until the fiber is destroyed
}

// A shuffle needs only one barrier: a lane's next value goes to the other buffer, and in that shuffle it waits for all
// lanes, which by then have read this one.
uint64_t Block::from_lane(uint64_t mine, unsigned lane) {
  auto& given = given_[me().shuffles++ % 2];
  given[current_] = mine;
  wait(State::kAtWarpBarrier);
  return given[current_ / kWarp * kWarp + lane];
}

bool Block::go_on() {
  running = this;
  block_index = index_;
  bool moved = false;
  std::shuffle(warps_.begin(), warps_.end(), draw());
  for (size_t begin : warps_) {
    while (run_warp(begin)) {
      moved = true;
      if (asynchronous_ && one_in(4)) break;
    }
    if (asynchronous_ && one_in(4)) moved |= asynchronous_->steps.do_one(false);
  }
  release(0, fibers_.size(), State::kAtBlockBarrier);
  if (!moved && asynchronous_) moved = asynchronous_->steps.do_one(true);
  if (asynchronous_ && is_done()) asynchronous_->end();
  return moved;
}

bool Block::is_done() const {
  return std::ranges::all_of(fibers_, [](const Fiber& fiber) { return fiber.state == State::kDone; });
}

const Fiber* Block::waiting() const {
  return &*std::ranges::find_if(fibers_, [](const Fiber& fiber) { return fiber.state != State::kDone; });
}

// Runs the threads of a warp that can run; false if none can.
bool Block::run_warp(size_t begin) {
  std::array<size_t, kWarp> ready;
  size_t count = 0;
  for (size_t i = begin; i < begin + kWarp; ++i) {
    const Fiber& fiber = fibers_[i];
    if (fiber.state == State::kReady || (fiber.state == State::kWaiting && fiber.over())) ready[count++] = i;
  }
  std::shuffle(ready.begin(), ready.begin() + count, draw());
  for (size_t i = 0; i < count; ++i) {
    current_ = ready[i];
    Fiber& fiber = fibers_[current_];
    fiber.state = State::kReady;
    thread_index = fiber.index;
    in_thread_ = true;
    fiber.self->resume();
    in_thread_ = false;
    CHECK(failure_.empty(), "{}", failure_);
  }
  release(begin, begin + kWarp, State::kAtWarpBarrier);
  return count > 0;
}

// Releases the threads from `barrier` if all that are not done have reached it.
void Block::release(size_t begin, size_t end, State barrier) {
  for (size_t i = begin; i < end; ++i)
    if (fibers_[i].state != barrier && fibers_[i].state != State::kDone) return;
  for (size_t i = begin; i < end; ++i)
    if (fibers_[i].state == barrier) fibers_[i].state = State::kReady;
}

}  // namespace ropewalk::simt
