#include "kernels/clock.h"

#include <chrono>
#include <ctime>

namespace ropewalk {
namespace {

template <typename SomeClock>
double seconds_of() {
  return std::chrono::duration<double>(SomeClock::now().time_since_epoch()).count();
}

}  // namespace

double unix_seconds() { return seconds_of<std::chrono::system_clock>(); }
double steady_seconds() { return seconds_of<std::chrono::steady_clock>(); }

double thread_cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace ropewalk
