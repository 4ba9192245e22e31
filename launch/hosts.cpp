#include "launch/hosts.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "kernels/error.h"
#include "trainer/metrics/text.h"

namespace ropewalk {

namespace {

constexpr size_t kHostsShown = 8;

struct Host {
  int ranks = 0;
  std::set<int> cpus;  // of any of its ranks
};

}  // namespace

std::vector<int> allowed_cpus() {
  // A mask of fixed size fails on hosts with more CPUs than it has bits; then all CPUs count as allowed.
  cpu_set_t mask;
  std::vector<int> cpus;
  const bool known = sched_getaffinity(0, sizeof mask, &mask) == 0;
  const int count = known ? CPU_SETSIZE : static_cast<int>(std::thread::hardware_concurrency());
  for (int cpu = 0; cpu < count; ++cpu)
    if (!known || CPU_ISSET(static_cast<size_t>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

std::vector<Place> gather_places(Communicator& world, const std::string& host) {
  std::ostringstream mine;
  mine << host;
  for (int cpu : allowed_cpus()) mine << ' ' << cpu;
  std::vector<Place> places;
  for (const std::string& text : gather_texts(world, mine.str())) {
    std::istringstream in(text);
    Place& place = places.emplace_back();
    in >> place.host;
    for (int cpu; in >> cpu;) place.cpus.push_back(cpu);
  }
  return places;
}

HostSummary summarize_hosts(const std::vector<Place>& places) {
  std::vector<std::string> order;  // as the ranks come
  std::map<std::string, Host> hosts;
  for (const Place& place : places) {
    Host& host = hosts[place.host];
    if (host.ranks++ == 0) order.push_back(place.host);
    host.cpus.insert(place.cpus.begin(), place.cpus.end());
  }
  HostSummary out;
  std::string list;
  for (size_t i = 0; i < std::min(order.size(), kHostsShown); ++i)
    list += fmt::format("{}{} x{}", i == 0 ? "" : ", ", order[i], hosts[order[i]].ranks);
  if (order.size() > kHostsShown) list += ", ...";
  out.text = fmt::format("{} ({})", counted(order.size(), "host"), list);

  for (const std::string& name : order) {
    const Host& host = hosts[name];
    const auto cpus = static_cast<int>(host.cpus.size());
    if (cpus == 0 || host.ranks <= cpus) continue;
    out.warnings.push_back(
        cpus == 1
            ? fmt::format("warning: the {} ranks on {} are bound to one CPU; start mpirun with --bind-to none",
                          host.ranks, name)
            : fmt::format("warning: {} ranks share {} CPUs on {}; a rank is one thread, so fewer ranks are faster",
                          host.ranks, cpus, name));
    if (out.warnings.size() == kHostsShown) break;
  }
  return out;
}

}  // namespace ropewalk
