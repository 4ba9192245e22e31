#include "launch/signals.h"

#include <array>
#include <csignal>

#include "kernels/error.h"

namespace ropewalk {

namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGUSR1, SIGUSR2};

// A handler can reach nothing but static storage.
volatile std::sig_atomic_t stop_requested = 0;
bool alive = false;
std::array<struct sigaction, kSignals.size()> before;

void handle(int signal) {
  stop_requested = 1;
  if (signal != SIGTERM && signal != SIGINT) return;
  std::signal(SIGTERM, SIG_DFL);  // the second one kills
  std::signal(SIGINT, SIG_DFL);
}

}  // namespace

StopSignals::StopSignals() {
  CHECK(!alive, "two StopSignals in one process");
  alive = true;
  stop_requested = 0;
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
