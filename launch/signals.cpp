#include "launch/signals.h"

#include <array>
#include <csignal>
#include <ctime>

#include "kernels/error.h"

namespace ropewalk {

namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};
// mpirun may deliver one SIGTERM twice, to the process and to its group: that is no second thought.
constexpr double kEchoSeconds = 1;

// A handler can reach nothing but static storage.
volatile std::sig_atomic_t stop_requested = 0, end_requested = 0;
double end_requested_at;
bool alive = false;
std::array<struct sigaction, kSignals.size()> before;

double now() {  // may be called by a signal handler
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void handle(int signal) {
  stop_requested = 1;
  if (signal != SIGTERM && signal != SIGINT) return;
  if (!end_requested) {
    end_requested_at = now();
    end_requested = 1;
  } else if (now() - end_requested_at > kEchoSeconds) {
    std::signal(signal, SIG_DFL);
    std::raise(signal);  // takes effect when this handler returns
  }
}

}  // namespace

StopSignals::StopSignals() {
  CHECK(!alive, "two StopSignals in one process");
  alive = true;
  stop_requested = end_requested = 0;
  struct sigaction action {};
  action.sa_handler = handle;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &before[i]);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  alive = false;
}

bool StopSignals::requested() { return stop_requested != 0; }

}  // namespace ropewalk
