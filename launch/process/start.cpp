#include "launch/process/start.h"

#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
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

std::vector<int> cpus_of(pid_t process) {
  cpu_set_t mask;
  std::vector<int> cpus;
  if (sched_getaffinity(process, sizeof mask, &mask) != 0) return cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(static_cast<size_t>(cpu), &mask)) cpus.push_back(cpu);
  return cpus;
}

int number_in(const std::string& file) {
  int number = -1;
  std::ifstream(file) >> number;
  return number;
}

// Open MPI counts cores, not their hardware threads.
int cores_of(const std::vector<int>& cpus) {
  std::set<std::pair<int, int>> cores;
  for (const int cpu : cpus) {
    const std::string topology = fmt::format("/sys/devices/system/cpu/cpu{}/topology/", cpu);
    const int core = number_in(topology + "core_id");
    cores.emplace(number_in(topology + "physical_package_id"), core < 0 ? cpu : core);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

bool is_set(const char* variable) {
  const char* const value = std::getenv(variable);
  return value && (std::string_view(value) == "1" || std::string_view(value) == "true");
}

}  // namespace

Start this_start() {
  std::vector<int> cpus = allowed_cpus();
  const std::vector<int> around = cpus_of(getppid());
  if (around.size() > cpus.size()) cpus = around;
  const bool permitted = std::getenv("OMPI_ALLOW_RUN_AS_ROOT") && std::getenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM");
  return {own_command(), geteuid() == 0 && !permitted, cores_of(cpus), std::max(1, static_cast<int>(cpus.size()))};
}

bool ranks_yield() { return is_set("OMPI_MCA_mpi_yield_when_idle") || is_set("OMPI_MCA_mpi_oversubscribe"); }

std::string mpirun_line(int ranks, const Start& start, bool unbound) {
  std::string line = fmt::format("mpirun -n {}", ranks);
  if (start.root) line += " --allow-run-as-root";
  if (ranks > start.cores) line += " --oversubscribe";
  if (ranks > start.cores || unbound) line += " --bind-to none";
  if (ranks > start.cpus) line += " --mca mpi_yield_when_idle 1";
  return line + " " + command_line(start);
}

std::string srun_line(int ranks, const Start& start) {
  return fmt::format("srun --mpi=pmix -n {} {}", ranks, command_line(start));
}

std::string command_line(const Start& start, const std::string& without_variable) {
  std::string line = without_variable.empty() ? "" : fmt::format("env --unset={}", without_variable);
  for (const std::string& word : start.command) line += (line.empty() ? "" : " ") + shell_quoted(word);
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
