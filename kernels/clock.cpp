#include "kernels/clock.h"

#include <chrono>

namespace ropewalk {
namespace {

template <typename SomeClock>
double seconds_of() {
  return std::chrono::duration<double>(SomeClock::now().time_since_epoch()).count();
}

}  // namespace

double unix_seconds() { return seconds_of<std::chrono::system_clock>(); }
double steady_seconds() { return seconds_of<std::chrono::steady_clock>(); }

}  // namespace ropewalk
