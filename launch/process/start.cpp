#include "launch/process/start.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <utility>

#include "kernels/allowed_cpus.h"

namespace ropewalk {

namespace {

std::vector<std::string> own_command() {
  std::ifstream in("/proc/self/cmdline", std::ios::binary);  // each word ends with a 0
  std::vector<std::string> words;
  for (std::string word; std::getline(in, word, '\0');) words.push_back(word);
  if (words.empty()) words.emplace_back("ropewalk");
  return words;
}

// Open MPI counts cores, not their hardware threads.
int cores_of(const std::vector<int>& cpus) {
  std::set<std::pair<int64_t, int64_t>> cores;
  for (const int cpu : cpus) {
    const std::filesystem::path topology = fmt::format("/sys/devices/system/cpu/cpu{}/topology", cpu);
    const int64_t core = number_in(topology / "core_id").value_or(-1);
    cores.emplace(number_in(topology / "physical_package_id").value_or(-1), core < 0 ? cpu : core);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

bool is_permitted(const char* variable) {
  const char* const value = std::getenv(variable);
  return value && std::string_view(value) == "1";  // as mpirun compares
}

// A parameter of Open MPI that is true or false, as Open MPI reads it; nullopt: not set, or neither.
std::optional<bool> flag_in(const char* variable) {
  const char* const value = std::getenv(variable);
  if (!value) return std::nullopt;
  const std::string_view text = value;
  for (const char* word : {"true", "t", "enabled", "yes"})
    if (text == word) return true;
  char* end = nullptr;
  const int64_t number = std::strtol(value, &end, 10);
  return end != value && *end == '\0' ? std::optional(number != 0) : std::nullopt;
}

std::vector<std::string> placement_variables() {
  std::vector<std::string> names;
  for (char** variable = environ; *variable; ++variable) {
    const std::string_view text = *variable;
    if (text.starts_with("OMPI_MCA_rmaps_")) names.emplace_back(text.substr(0, text.find('=')));
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string without(const std::vector<std::string>& variables) {
  std::string words = variables.empty() ? "" : "env ";
  for (const std::string& variable : variables) words += fmt::format("--unset={} ", variable);
  return words;
}

}  // namespace

Start this_start(const ControlGroups& groups) {
  std::vector<int> cpus = allowed_cpus();
  if (const auto around = affinity_of(getppid()); around && around->size() > cpus.size()) cpus = *around;
  const bool permitted = is_permitted("OMPI_ALLOW_RUN_AS_ROOT") && is_permitted("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
  const int in_mask = std::max(1, static_cast<int>(cpus.size()));
  const int usable = std::min(in_mask, cpu_quota(groups).value_or(in_mask));
  return {.command = own_command(),
          .root = geteuid() == 0 && !permitted,
          .cores = cores_of(cpus),
          .cpus = usable,
          .has_whole_host = usable >= sysconf(_SC_NPROCESSORS_ONLN),
          .placement = placement_variables()};
}

bool ranks_yield() {
  const std::optional<bool> yields = flag_in("OMPI_MCA_mpi_yield_when_idle");
  return yields ? *yields : flag_in("OMPI_MCA_mpi_oversubscribe").value_or(false);
}

std::string mpirun_line(int ranks, const Start& start) {
  std::string line = without(start.placement) + fmt::format("mpirun -n {}", ranks);
  if (start.root) line += " --allow-run-as-root";
  if (ranks > start.cores) line += " --oversubscribe";
  if (ranks != start.cores || !start.has_whole_host) line += " --bind-to none";
  if (ranks > start.cpus) line += " --mca mpi_yield_when_idle 1";
  return line + " " + command_line(start);
}

std::string srun_line(int ranks, const Start& start) {
  return fmt::format("srun --mpi=pmix -n {} {}", ranks, command_line(start));
}

std::string command_line(const Start& start, const std::vector<std::string>& without_variables) {
  std::string line = without(without_variables);
  for (size_t i = 0; i < start.command.size(); ++i) line += (i == 0 ? "" : " ") + shell_quoted(start.command[i]);
  return line;
}

std::string shell_quoted(std::string_view word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(kPlain) == word.npos) return std::string(word);
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

}  // namespace ropewalk
