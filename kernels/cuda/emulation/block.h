// A block of the emulated device: its threads, which are fibers, their synchronization, and its shared memory.
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

struct Context;       // the saved state of a suspended fiber, or of the scheduler
struct Asynchronous;  // the asynchronous engines (asynchronous.h); only for kernels that use them

std::minstd_rand& draw();  // this thread's random generator
inline bool one_in(unsigned n) { return draw()() % n == 0; }

constexpr unsigned char kPoison = 0xff;  // repeated, a NaN in bf16 and fp32

struct Copy {
  void* to;
  const void* from;  // null: zeros
};
constexpr size_t kCopyBytes = 16;

enum class State { kReady, kAtBlockBarrier, kAtWarpBarrier, kWaiting, kDone };

struct Fiber {
  std::unique_ptr<Context> self;
  State state = State::kDone;
  std::function<bool()> over;  // while kWaiting: whether it may continue
  Index index;
  size_t shuffles = 0;
  std::deque<std::vector<Copy>> copies;  // groups in flight; the newest is still open
};

class Block {
 public:
  Block(unsigned threads, size_t shared_bytes);
  ~Block();

  void begin(Index at, const std::function<void()>& thread);
  // Runs each warp, in random order, until it must wait; in kernels with asynchronous operations a warp may stop
  // earlier, at a random barrier. Returns false if nothing could run. Throws the failure of a thread.
  bool go_on();
  bool is_done() const;
  const Fiber* waiting() const;  // one that is not done
  Index index() const { return index_; }

  // The following are called by the running thread.
  void wait(State barrier);
  // Waits until over() returns true; it is polled.
  template <typename Over>
  void wait_until(const Over& over) {
    while (!over()) {
      me().over = over;
      wait(State::kWaiting);
    }
  }
  // Reports that the kernel breaks a rule, and ends it: go_on() throws, because exceptions cannot leave a fiber.
  [[noreturn]] void fail(const std::string& why);
  uint64_t from_lane(uint64_t mine, unsigned lane);
  // Calls work(array of pointers to every lane's `mine`) when the last lane of this warp has called. Lane must have a
  // member `bool served`.
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
  std::array<std::vector<uint64_t>, 2> given_;  // each thread's value, in a shuffle and in the one before
  std::vector<void*> passed_;                   // each thread's argument of with_warp()
  std::vector<size_t> arrived_;                 // per warp: lanes that have called with_warp()
  std::vector<size_t> warps_;                   // the first thread of each warp, in the order in which they run
  std::unique_ptr<Asynchronous> asynchronous_;
  Index index_;
  size_t current_ = 0;
  bool in_thread_ = false;  // true while a thread runs; false in the scheduler and the asynchronous engines
  std::string failure_;
};

extern constinit thread_local Block* running;

}  // namespace ropewalk::simt
