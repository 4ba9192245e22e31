#include "launch/process/control_groups.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>
#include <vector>

namespace ropewalk {

namespace {

struct Folder {
  std::filesystem::path path;
  bool v2;
};

// The folders of the process's group and its ancestors, for version 2 and for version 1's controller.
std::vector<Folder> folders_of(const ControlGroups& groups, const std::string& controller) {
  std::vector<Folder> folders;
  std::ifstream membership(groups.membership);
  for (std::string line; std::getline(membership, line);) {  // "0::/group" or "4:cpu,cpuacct:/group"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && ("," + controllers + ",").find("," + controller + ",") == line.npos) continue;
    // In a container the group's path can be the host's, which does not exist here: only the last folder does.
    for (std::filesystem::path group = std::filesystem::path(line.substr(second + 1)).relative_path();;
         group = group.parent_path()) {
      folders.push_back({groups.root / controllers / group, controllers.empty()});
      if (group.empty()) break;
    }
  }
  return folders;
}

template <typename T>
std::optional<T> smaller(std::optional<T> a, T b) {
  return a ? std::min(*a, b) : b;
}

}  // namespace

std::optional<int64_t> number_in(const std::filesystem::path& file, const std::string& word) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string first;
    int64_t number = 0;
    if ((word.empty() || (words >> first && first == word)) && words >> number) return number;
  }
  return std::nullopt;
}

std::optional<int> cpu_quota(const ControlGroups& groups) {
  std::optional<int> least;
  for (const auto& [folder, v2] : folders_of(groups, "cpu")) {
    int64_t quota = -1, period = 0;  // microseconds; version 2 writes "max" and version 1 writes -1 for no limit
    if (v2)
      std::ifstream(folder / "cpu.max") >> quota >> period;
    else
      quota = number_in(folder / "cpu.cfs_quota_us").value_or(-1),
      period = number_in(folder / "cpu.cfs_period_us").value_or(0);
    if (quota <= 0 || period <= 0) continue;
    const int64_t cpus = std::clamp<int64_t>(quota / period, 1, std::numeric_limits<int>::max());
    least = smaller(least, static_cast<int>(cpus));
  }
  return least;
}

std::optional<int64_t> memory_left(const ControlGroups& groups) {
  std::optional<int64_t> least;
  for (const auto& [folder, v2] : folders_of(groups, "memory")) {
    const auto most = number_in(folder / (v2 ? "memory.max" : "memory.limit_in_bytes"));
    const auto used = number_in(folder / (v2 ? "memory.current" : "memory.usage_in_bytes"));
    if (!most || !used) continue;
    const int64_t cache = number_in(folder / "memory.stat", v2 ? "inactive_file" : "total_inactive_file").value_or(0);
    least = smaller(least, std::max<int64_t>(1, *most - *used + cache));
  }
  return least;
}

}  // namespace ropewalk
