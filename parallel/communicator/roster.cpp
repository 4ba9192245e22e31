#include "parallel/communicator/roster.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "kernels/error.h"

namespace ropewalk {
namespace {

constexpr size_t kHostsShown = 8;
constexpr size_t kRangesShown = 8;

// "3, 5-7" of ascending numbers.
std::string in_ranges(const std::vector<int>& numbers) {
  std::string text;
  size_t ranges = 0;
  for (size_t begin = 0, end = 0; begin < numbers.size(); begin = end) {
    if (ranges++ == kRangesShown) return text + ", ...";
    for (end = begin + 1; end < numbers.size() && numbers[end] == numbers[end - 1] + 1;) ++end;
    if (begin > 0) text += ", ";
    text += fmt::format("{}", numbers[begin]);
    if (end - begin > 1) text += fmt::format("{}{}", end - begin > 2 ? "-" : ", ", numbers[end - 1]);
  }
  return text;
}

}  // namespace

Roster::Roster(int size, std::vector<std::string> hosts)
    : world_ranks_(static_cast<size_t>(size)),
      hosts_(std::make_shared<const std::vector<std::string>>(std::move(hosts))) {
  CHECK(size > 0, "a world of {} ranks", size);
  CHECK(hosts_->empty() || hosts_->size() == world_ranks_.size(), "{} hosts of {} ranks", hosts_->size(), size);
  std::iota(world_ranks_.begin(), world_ranks_.end(), 0);
}

Roster::Roster(std::vector<int> world_ranks, std::shared_ptr<const std::vector<std::string>> hosts)
    : world_ranks_(std::move(world_ranks)), hosts_(std::move(hosts)) {}

Roster Roster::of(const std::vector<int>& members) const {
  std::vector<int> world_ranks;
  for (int member : members) world_ranks.push_back(world_rank(member));
  return Roster(std::move(world_ranks), hosts_);
}

std::string Roster::on_host(int world_rank) const {
  return hosts_->empty() ? "" : " on " + (*hosts_)[static_cast<size_t>(world_rank)];
}

std::string Roster::name(int rank) const {
  return fmt::format("rank {}{}", world_rank(rank), on_host(world_rank(rank)));
}

std::string Roster::names(const std::vector<int>& ranks) const {
  std::vector<int> sorted;
  for (int rank : ranks) sorted.push_back(world_rank(rank));
  std::ranges::sort(sorted);
  std::vector<std::pair<std::string, std::vector<int>>> by_host;
  for (int rank : sorted) {
    const std::string host = on_host(rank);
    auto entry = std::ranges::find(by_host, host, [](const auto& other) { return other.first; });
    if (entry == by_host.end()) entry = by_host.insert(entry, {host, {}});
    entry->second.push_back(rank);
  }
  const size_t shown = std::min(by_host.size(), kHostsShown);
  std::string text;
  for (size_t i = 0; i < shown; ++i) {
    const auto& [host, members] = by_host[i];
    if (i > 0) text += i + 1 == by_host.size() ? " and " : ", ";
    text += fmt::format("rank{} {}{}", members.size() == 1 ? "" : "s", in_ranges(members), host);
  }
  if (shown < by_host.size()) text += fmt::format(" and those on {} more hosts", by_host.size() - shown);
  return text;
}

}  // namespace ropewalk
