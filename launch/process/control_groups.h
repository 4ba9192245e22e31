// The limits of the control groups that this process belongs to (cgroup v1 and v2): containers and batch systems set
// them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace ropewalk {

struct ControlGroups {
  std::filesystem::path membership = "/proc/self/cgroup";  // the groups of the process
  std::filesystem::path root = "/sys/fs/cgroup";           // where the groups' files are mounted
};

// The number after the word in a file of /proc or /sys (an empty word: the first number); nullopt: there is none.
std::optional<int64_t> number_in(const std::filesystem::path& file, const std::string& word = "");

// Both return the tightest limit of the process's groups and of their ancestors; nullopt: no limit is set.

// The CPU quota in whole CPUs, rounded down, at least 1.
std::optional<int> cpu_quota(const ControlGroups& groups = {});

// Memory that the process can still get, in bytes, at least 1. Page cache that the kernel can reclaim counts as free.
std::optional<int64_t> memory_left(const ControlGroups& groups = {});

}  // namespace ropewalk
