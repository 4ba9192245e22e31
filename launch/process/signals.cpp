#include "launch/process/signals.h"

#include <unistd.h>

#include <array>
#include <csignal>

#include "kernels/error.h"

namespace ropewalk {

namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

// A handler can reach nothing but static storage.
volatile std::sig_atomic_t last_signal = 0;
bool alive = false;
std::array<struct sigaction, kSignals.size()> before;
struct sigaction pipe_before, alarm_before;

// Of a terminal: nohup, and a script that starts something in the background (`ropewalk train ... &`), let them be
// ignored, so that the end of the terminal and a Ctrl-C to something else do not stop it.
bool is_for_the_foreground(int signal) { return signal == SIGHUP || signal == SIGINT; }

// A wait that begins just after the signal is broken by the alarm.
void note_and_knock(int signal) {
  if (signal != SIGALRM) last_signal = signal;
  alarm(1);
}

void note_once(int signal) {
  last_signal = signal;
  if (signal != SIGTERM && signal != SIGINT) return;  // a terminal that closes may send SIGHUP twice
  for (size_t i = 0; i < kSignals.size(); ++i)        // the second one kills
    if (kSignals[i] == SIGTERM || (kSignals[i] == SIGINT && before[i].sa_handler != SIG_IGN))
      std::signal(kSignals[i], SIG_DFL);
}

}  // namespace

StopSignals::StopSignals(Waits waits) {
  CHECK(!alive, "two StopSignals in one process");
  alive = true;
  last_signal = 0;
  struct sigaction action {};
  action.sa_handler = waits == Waits::kGoOn ? note_once : note_and_knock;
  action.sa_flags = waits == Waits::kGoOn ? SA_RESTART : 0;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    sigaction(kSignals[i], &action, &before[i]);
    if (is_for_the_foreground(kSignals[i]) && before[i].sa_handler == SIG_IGN) std::signal(kSignals[i], SIG_IGN);
  }
  sigaction(SIGALRM, waits == Waits::kInterrupted ? &action : nullptr, &alarm_before);
  action.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &action, &pipe_before);
}

StopSignals::~StopSignals() {
  for (size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &before[i], nullptr);
  alarm(0);
  sigaction(SIGALRM, &alarm_before, nullptr);
  sigaction(SIGPIPE, &pipe_before, nullptr);
  alive = false;
}

bool StopSignals::requested() { return last_signal != 0; }
int StopSignals::signal() { return last_signal; }

}  // namespace ropewalk
