#include "kernels/allowed_cpus.h"

#include <sched.h>

#include <thread>

namespace ropewalk {

std::vector<int> allowed_cpus() {
  // The call fails on hosts with more CPUs than the mask has bits; then all CPUs count as allowed.
  cpu_set_t mask;
  std::vector<int> cpus;
  const bool known = sched_getaffinity(0, sizeof mask, &mask) == 0;
  const int count = known ? CPU_SETSIZE : static_cast<int>(std::thread::hardware_concurrency());
  for (int cpu = 0; cpu < count; ++cpu)
    if (!known || CPU_ISSET(static_cast<size_t>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

}  // namespace ropewalk
