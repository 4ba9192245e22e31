#include "kernels/allowed_cpus.h"

#include <sched.h>

#include <numeric>
#include <thread>

namespace ropewalk {

std::optional<std::vector<int>> affinity_of(pid_t process) {
  cpu_set_t mask;
  if (sched_getaffinity(process, sizeof mask, &mask) != 0) return std::nullopt;
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<size_t>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

std::vector<int> allowed_cpus() {
  if (const auto cpus = affinity_of(0)) return *cpus;
  // The call fails on hosts with more CPUs than the mask has bits; then all CPUs count as allowed.
  std::vector<int> all(std::thread::hardware_concurrency());
  std::iota(all.begin(), all.end(), 0);
  return all;
}

}  // namespace ropewalk
