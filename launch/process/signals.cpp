#include "launch/process/signals.h"

#include <unistd.h>

#include <array>
#include <csignal>

#include "kernels/error.h"
#include "launch/process/unfinished_files.h"

namespace ropewalk {

namespace {

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};

// A signal handler can access static storage only.
volatile std::sig_atomic_t last_signal = 0;
bool alive = false;
std::array<struct sigaction, kSignals.size()> before;
struct sigaction pipe_before, alarm_before;

// Signals that a terminal sends. nohup ignores SIGHUP, and a script ignores SIGINT in its background jobs (`ropewalk
// train ... &`), so that closing the terminal, or a Ctrl-C meant for another process, does not stop the run.
bool is_for_the_foreground(int signal) { return signal == SIGHUP || signal == SIGINT; }

void note(int signal) {
  last_signal = signal;
  UnfinishedFiles::remove();
}

// The alarm, repeated every second, interrupts a wait that begins just after the signal.
void note_and_knock(int signal) {
  if (signal != SIGALRM) note(signal);
  alarm(1);
}

void note_once(int signal) {
  note(signal);
  if (signal != SIGTERM && signal != SIGINT) return;  // SIGHUP may come twice when a terminal closes
  for (size_t i = 0; i < kSignals.size(); ++i)        // the next one kills
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
