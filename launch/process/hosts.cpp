#include "launch/process/hosts.h"

#include <algorithm>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>
#include <thread>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

constexpr size_t kHostsShown = 8;

struct Host {
  int ranks = 0;
  std::set<int> cpus;  // that any of its ranks may use
  int64_t needed = 0, available = 0;
  bool yields = true;  // all of its ranks
};

// The number after the word in a file (an empty word: the first number); nullopt if there is none.
std::optional<int64_t> number_after(const std::string& file, const std::string& word) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first;
    int64_t number = 0;
    if ((word.empty() || (words >> first && first == word)) && words >> number) return number;
  }
  return std::nullopt;
}

// The warning of a host with more ranks than CPUs: the mpirun options that help, or else that fewer ranks are faster.
// start: given if the job has no other host.
std::string crowd_warning(const std::string& name, const Host& host, const std::optional<Start>& start) {
  const auto cpus = static_cast<int>(host.cpus.size());
  const bool bound = start ? start->cpus > cpus : cpus == 1;  // the host has more
  std::string out = bound ? fmt::format("the {} ranks on {} are bound to {}", host.ranks, name, counted(cpus, "CPU"))
                          : fmt::format("{} ranks share {} on {}", host.ranks, counted(cpus, "CPU"), name);
  if (!host.yields) out += ", and a rank that waits inside MPI keeps its CPU busy";
  if (!bound && host.yields) return out + "; a rank is one thread, so fewer ranks are faster";
  if (start) return fmt::format("{}; start them like this:\n    {}", out, mpirun_line(host.ranks, *start, bound));
  return fmt::format("{}; start mpirun with {}{}", out, bound ? "--bind-to none" : "",
                     host.yields ? "" : fmt::format("{}--mca mpi_yield_when_idle 1", bound ? " " : ""));
}

std::vector<std::string> warnings_of(const std::string& name, const Host& host, const std::optional<Start>& start) {
  std::vector<std::string> out;
  const auto cpus = static_cast<int>(host.cpus.size());
  if (cpus > 0 && host.ranks > cpus) out.push_back(crowd_warning(name, host, start));
  if (host.available > 0 && host.needed > host.available)
    out.push_back(fmt::format(
        "{} on {} will need about {}, and it has {} left; share sequences or weights among more hosts, or set "
        "training.recompute (activation checkpointing), a smaller micro_batch or loss_chunk (`ropewalk plan CONFIG "
        "--advice` prints what each saves)",
        counted(host.ranks, "rank"), name, bytes_text(static_cast<double>(host.needed)),
        bytes_text(static_cast<double>(host.available))));
  return out;
}

}  // namespace

int64_t available_memory() {
  int64_t available = number_after("/proc/meminfo", "MemAvailable:").value_or(0) * 1024;  // from KiB
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    if (!line.starts_with("0::")) continue;  // version 2
    const std::string group = "/sys/fs/cgroup" + line.substr(3) + "/";
    const auto most = number_after(group + "memory.max", ""), used = number_after(group + "memory.current", "");
    if (!most || !used) continue;  // no such group, or no limit
    const int64_t cache =
        number_after(group + "memory.stat", "inactive_file").value_or(0);  // page cache, which the kernel can reclaim
    available = std::min(available, std::max<int64_t>(1, *most - *used + cache));
  }
  return available;
}

std::vector<Place> gather_places(Communicator& world, const Place& mine) {
  const nlohmann::json text = {mine.host, mine.cpus, mine.memory_needed, mine.memory_available, mine.yields};
  std::vector<Place> places;
  for (const std::string& theirs : gather_texts(world, text.dump())) {
    const nlohmann::json place = nlohmann::json::parse(theirs);
    places.push_back({place[0], place[1], place[2], place[3], place[4]});
  }
  return places;
}

HostSummary summarize_hosts(const std::vector<Place>& places, const Start& start) {
  std::vector<std::string> order;  // host names, in order of their first rank
  std::map<std::string, Host> hosts;
  for (const Place& place : places) {
    Host& host = hosts[place.host];
    if (host.ranks++ == 0) order.push_back(place.host);
    host.cpus.insert(place.cpus.begin(), place.cpus.end());
    host.needed += place.memory_needed;
    host.available = std::max(host.available, place.memory_available);
    host.yields = host.yields && place.yields;
  }
  HostSummary out;
  std::string list;
  for (size_t i = 0; i < std::min(order.size(), kHostsShown); ++i)
    list += fmt::format("{}{} x{}", i == 0 ? "" : ", ", order[i], hosts[order[i]].ranks);
  if (order.size() > kHostsShown) list += ", ...";
  out.text = fmt::format("{} ({})", counted(order.size(), "host"), list);

  const std::optional<Start> only_start = order.size() == 1 ? std::optional(start) : std::nullopt;
  for (const std::string& name : order) {
    for (const std::string& warning : warnings_of(name, hosts[name], only_start))
      out.warnings.push_back("warning: " + warning);
    if (out.warnings.size() >= kHostsShown) break;
  }
  return out;
}

}  // namespace ropewalk
