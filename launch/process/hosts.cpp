#include "launch/process/hosts.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

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
  int quota = std::numeric_limits<int>::max();
};

// The options that start the same ranks better.
std::string remedy(const Launcher& launcher, bool bound, bool yields) {
  std::vector<std::string> words;
  if (launcher.is_srun()) {
    if (bound) words.emplace_back("--cpu-bind=none");
    if (!yields) words.emplace_back("OMPI_MCA_mpi_yield_when_idle=1 in its environment");
    return fmt::format("start srun with {}", fmt::join(words, " and "));
  }
  if (bound) words.emplace_back("--bind-to none");
  if (!yields) words.emplace_back("--mca mpi_yield_when_idle 1");
  return fmt::format("start mpirun with {}", fmt::join(words, " "));
}

// cpus_around: CPUs that the launcher may use, if the job has no other host.
std::string crowd_warning(const std::string& name, const Host& host, const std::optional<int>& cpus_around,
                          const Launcher& launcher) {
  const auto in_masks = static_cast<int>(host.cpus.size()), cpus = std::min(in_masks, host.quota);
  const bool bound = cpus_around ? *cpus_around > cpus : in_masks == 1 && host.quota > 1;  // the host has more
  std::string out = bound ? fmt::format("the {} ranks on {} are bound to {}", host.ranks, name, counted(cpus, "CPU"))
                          : fmt::format("{} ranks share {} on {}", host.ranks, counted(cpus, "CPU"), name);
  if (host.quota < in_masks) out += " (the limit of a control group)";
  if (!host.yields) out += ", and a rank that waits inside MPI keeps its CPU busy";
  if (!bound && host.yields) return out + "; a rank is one thread, so fewer ranks are faster";
  return fmt::format("{}; {}", out, remedy(launcher, bound, host.yields));
}

std::vector<std::string> warnings_of(const std::string& name, const Host& host, const std::optional<int>& cpus_around,
                                     const Launcher& launcher) {
  std::vector<std::string> out;
  const int cpus = std::min(static_cast<int>(host.cpus.size()), host.quota);
  if (cpus > 0 && host.ranks > cpus) out.push_back(crowd_warning(name, host, cpus_around, launcher));
  if (host.available > 0 && host.needed > host.available)
    out.push_back(fmt::format(
        "{} on {} will need about {}, and it has {} left; share sequences or weights among more hosts, or set "
        "training.recompute (activation checkpointing), a smaller micro_batch or loss_chunk (`ropewalk plan CONFIG "
        "--advice` prints what each saves)",
        counted(host.ranks, "rank"), name, bytes_text(static_cast<double>(host.needed)),
        bytes_text(static_cast<double>(host.available))));
  return out;
}

// The first names of a list.
std::string shown(const std::vector<std::string>& names) {
  const auto last = names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kHostsShown));
  return fmt::format("{}{}", fmt::join(names.begin(), last, ", "), names.size() > kHostsShown ? ", ..." : "");
}

std::string arithmetic_of(const std::vector<Place>& places) {
  std::map<std::string, int> ranks;
  for (const Place& place : places) ++ranks[place.arithmetic.text];
  if (ranks.size() == 1) return ranks.begin()->first;
  std::vector<std::string> kinds;
  for (const auto& [text, count] : ranks) kinds.push_back(fmt::format("{} x {}", count, text));
  return fmt::format("{}", fmt::join(kinds, ", "));
}

// One for each unit and reason.
std::vector<std::string> warnings_of_refused_units(const std::vector<Place>& places) {
  std::map<std::string, std::vector<std::string>> hosts;
  for (const Place& place : places) {
    if (place.arithmetic.refused.empty()) continue;
    std::vector<std::string>& of_reason = hosts[place.arithmetic.refused];
    if (std::ranges::find(of_reason, place.host) == of_reason.end()) of_reason.push_back(place.host);
  }
  std::vector<std::string> out;
  for (const auto& [refused, names] : hosts)
    out.push_back(fmt::format("warning: {} cannot use {}; ranks there compute more slowly", shown(names), refused));
  return out;
}

}  // namespace

int64_t available_memory(const ControlGroups& groups) {
  const int64_t of_host = number_in("/proc/meminfo", "MemAvailable:").value_or(0) * 1024;  // from KiB
  return std::min(of_host, memory_left(groups).value_or(of_host));
}

std::vector<Place> gather_places(Communicator& world, const Place& mine) {
  const nlohmann::json text = {mine.host,   mine.cpus,      mine.memory_needed,   mine.memory_available,
                               mine.yields, mine.cpu_quota, mine.arithmetic.text, mine.arithmetic.refused};
  std::vector<Place> places;
  for (const std::string& theirs : gather_texts(world, text.dump())) {
    const nlohmann::json place = nlohmann::json::parse(theirs);
    places.push_back({place[0], place[1], place[2], place[3], place[4], place[5], {place[6], place[7]}});
  }
  return places;
}

HostSummary summarize_hosts(const std::vector<Place>& places, const Start& start, const Launcher& launcher) {
  std::vector<std::string> order;  // host names, in order of their first rank
  std::map<std::string, Host> hosts;
  for (const Place& place : places) {
    Host& host = hosts[place.host];
    if (host.ranks++ == 0) order.push_back(place.host);
    host.cpus.insert(place.cpus.begin(), place.cpus.end());
    host.needed += place.memory_needed;
    host.available = std::max(host.available, place.memory_available);
    host.yields = host.yields && place.yields;
    if (place.cpu_quota > 0) host.quota = std::min(host.quota, place.cpu_quota);
  }
  HostSummary out;
  std::vector<std::string> crews;
  for (const std::string& name : order) crews.push_back(fmt::format("{} x{}", name, hosts[name].ranks));
  out.text = fmt::format("{} ({})", counted(order.size(), "host"), shown(crews));
  out.arithmetic = arithmetic_of(places);

  const std::optional<int> cpus_around = order.size() == 1 ? std::optional(start.cpus) : std::nullopt;
  for (const std::string& name : order) {
    for (const std::string& warning : warnings_of(name, hosts[name], cpus_around, launcher))
      out.warnings.push_back("warning: " + warning);
    if (out.warnings.size() >= kHostsShown) break;
  }
  for (std::string& warning : warnings_of_refused_units(places)) out.warnings.push_back(std::move(warning));
  return out;
}

}  // namespace ropewalk
