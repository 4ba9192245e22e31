// A signal that is handled while an operation runs must not change its result. Handlers of profilers, timers and
// libraries run on the operation's stack, and overwrite it below the stack pointer (and below the ABI's 128-byte red
// zone). Code that keeps another value in the stack pointer, or data below the red zone, breaks.
#include <gtest/gtest.h>
#include <sys/time.h>

#include <chrono>
#include <csignal>

#include "kernels/kernels.h"
#include "tests/kernels/cpu/suite.h"

namespace ropewalk {
namespace {

volatile std::sig_atomic_t handled = 0;

// Overwrites as much of the stack as a handler with a large frame for the vector registers would.
void scribble(int) {
  volatile char below[4096];
  for (volatile char& byte : below) byte = 0x5a;
  handled = handled + 1;
}

// SIGALRM every 200 microseconds, handled on the running thread's stack.
class Storm {
 public:
  Storm() {
    struct sigaction action {};
    action.sa_handler = scribble;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &before_);
    set(200);
  }
  ~Storm() {
    set(0);
    sigaction(SIGALRM, &before_, nullptr);
  }

 private:
  static void set(suseconds_t microseconds) {
    const itimerval every{{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &every, nullptr);
  }
  struct sigaction before_ {};
};

class CpuSignals : public CpuSuite {};

// The three products of a linear layer, and attention forward and backward; returns all results, concatenated.
std::vector<float> compute(Kernels& kernels) {
  constexpr int64_t N = 500, I = 256, O = 352, T = 160, H = 4, G = 2, K = 64;
  Twin x = Twin::normal({N, I}, "x"), w = Twin::normal({O, I}, "w"), dy = Twin::normal({N, O}, "dy");
  Twin y = Twin::filled({N, O}, 0), dx = Twin::filled({N, I}, 0), dw = Twin::filled({O, I}, 0);
  kernels.linear_forward(x.fast(), w.fast(), y.fast(), Write::kSet);
  kernels.linear_backward_input(dy.fast(), w.fast(), dx.fast(), Write::kSet);
  kernels.linear_backward_weight(dy.fast(), x.fast(), dw.fast(), Write::kAdd);

  Twin q = Twin::normal({T, H, K}, "q"), k = Twin::normal({T, G, K}, "k"), v = Twin::normal({T, G, K}, "v");
  Twin o = Twin::filled({T, H, K}, 0), lse = Twin::filled({T, H}, -INFINITY), d_o = Twin::normal({T, H, K}, "do");
  Twin delta = Twin::filled({T, H}, 0), dq = Twin::filled({T, H, K}, 0), dk = Twin::filled({T, G, K}, 0), dv = dk;
  kernels.attention_forward(q.fast(), k.fast(), v.fast(), {}, o.fast(), lse.fast());
  kernels.attention_delta(d_o.fast(), o.fast(), delta.fast());
  kernels.attention_backward(q.fast(), k.fast(), v.fast(), d_o.fast(), lse.fast(), delta.fast(), {}, dq.fast(),
                             dk.fast(), dv.fast());
  std::vector<float> results;
  for (Twin* result : {&y, &dx, &dw, &o, &lse, &dq, &dk, &dv})
    results.insert(results.end(), result->fast_values().begin(), result->fast_values().end());
  return results;
}

TEST_P(CpuSignals, ChangeNoBit) {
  const std::vector<float> undisturbed = compute(*cpu);
  const Storm storm;
  handled = 0;
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  int rounds = 0;
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ(compute(*cpu), undisturbed) << "in round " << rounds << ", after " << handled << " signals";
    ++rounds;
  }
  EXPECT_GT(handled, 100) << "in " << rounds << " rounds";
}

ROPEWALK_CPU_SUITE(CpuSignals);

}  // namespace
}  // namespace ropewalk
