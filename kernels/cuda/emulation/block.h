// A block of the emulated device: its threads, which are fibers, their waiting for each other, and its shared memory.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/cuda/emulation/simt.h"
#include "kernels/error.h"

namespace ropewalk::simt {

struct Context;       // where who does not run goes on
struct Asynchronous;  // what goes on beside the threads (asynchronous.h); only kernels for Hopper have it

std::minstd_rand& draw();
inline bool one_in(unsigned n) { return draw()() % n == 0; }

constexpr unsigned char kPoison = 0xff;  // of bf16 and fp32, bytes of NaNs

struct Copy {
  void* to;
  const void* from;  // null: zeros
};
constexpr size_t kCopyBytes = 16;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kWaiting, kDone };

struct Fiber {
  std::unique_ptr<Context> self;
  State state = State::kDone;
  std::function<bool()> over;  // while kWaiting: whether it may go on
  Index index;
  size_t shuffles = 0;
  std::deque<std::vector<Copy>> copies;  // groups on their way; the newest is still open
};

class Block {
 public:
  Block(unsigned threads, size_t shared_bytes);
  ~Block();

  void begin(Index at, const std::function<void()>& thread);
  // Lets each warp go on, in a drawn order, as far as it can or, where something is asynchronous, to a drawn barrier;
  // false where none could. Throws what a thread has failed with.
  bool go_on();
  bool is_done() const;
  const Fiber* waiting() const;  // one of those that are not done
  Index index() const { return index_; }

  // For the running thread.
  void wait(State barrier);
  // Until over(), which is asked again and again.
  template <typename Over>
  void wait_until(const Over& over) {
    while (!over()) {
      me().over = over;
      wait(State::kWaiting);
    }
  }
  // Where a rule is broken the kernel ends: this throws from go_on(), as exceptions do not leave fibers.
  [[noreturn]] void fail(const std::string& why);
  uint64_t from_lane(uint64_t mine, unsigned lane);
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
    if (!mine.served) fail("lanes of a warp are at different calls");
  }
  Fiber& me() { return fibers_[current_]; }
  size_t thread() const { return current_; }
  size_t threads() const { return fibers_.size(); }
  unsigned char* shared() const;
  size_t shared_bytes() const { return shared_bytes_; }
  Asynchronous& asynchronous();
  bool is_asynchronous() const { return asynchronous_ != nullptr; }

 private:
  bool run_warp(size_t begin);
  void release(size_t begin, size_t end, State barrier);
  void end_thread();

  const size_t shared_bytes_;
  std::vector<unsigned char> shared_;
  std::unique_ptr<Context> scheduler_;
  std::vector<Fiber> fibers_;
  std::array<std::vector<uint64_t>, 2> given_;  // by each thread, in a shuffle and in the one before
  std::vector<void*> passed_;                   // by each thread, in a call of its whole warp
  std::vector<size_t> arrived_;                 // of each warp, at such a call
  std::vector<size_t> warps_;                   // where they begin, in the order of their turns
  std::unique_ptr<Asynchronous> asynchronous_;
  Index index_;
  size_t current_ = 0;
  bool in_thread_ = false;  // or in what goes on beside the threads
  std::string failure_;
};

extern constinit thread_local Block* running;

}  // namespace ropewalk::simt
