#include "launch/process/launcher.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>

#include "kernels/error.h"

namespace ropewalk {

namespace {

using Environment = std::function<const char*(const char*)>;

struct Variables {
  const char *size, *rank;
  const char* rank_here = nullptr;
  const char* ranks_here = nullptr;
  const char* hosts = nullptr;
};

constexpr Variables kOpenMpi = {.size = "OMPI_COMM_WORLD_SIZE",
                                .rank = "OMPI_COMM_WORLD_RANK",
                                .rank_here = "OMPI_COMM_WORLD_LOCAL_RANK",
                                .ranks_here = "OMPI_COMM_WORLD_LOCAL_SIZE"};
// Slurm does not set the size in the batch script itself, only in steps.
constexpr Variables kSlurm = {.size = "SLURM_STEP_NUM_TASKS",
                              .rank = "SLURM_PROCID",
                              .rank_here = "SLURM_LOCALID",
                              .hosts = "SLURM_STEP_NUM_NODES"};
constexpr Variables kMpich = {.size = "PMI_SIZE", .rank = "PMI_RANK", .ranks_here = "MPI_LOCALNRANKS"};
// torchrun and Kubeflow
constexpr Variables kTorch = {.size = "WORLD_SIZE", .rank = "RANK", .ranks_here = "LOCAL_WORLD_SIZE"};
constexpr Variables kLaunchers[] = {kOpenMpi, kSlurm, kMpich, kTorch};
// PMIx servers, newest protocol first.
constexpr const char* kServers[] = {"PMIX_SERVER_URI41", "PMIX_SERVER_URI4",  "PMIX_SERVER_URI3",
                                    "PMIX_SERVER_URI2",  "PMIX_SERVER_URI21", "PMIX_SERVER_URI"};
constexpr int kConnectMilliseconds = 1000;  // the server is on this host

int number_or(const char* text, int otherwise) {
  if (!text) return otherwise;
  int value = 0;
  const char* const end = text + std::strlen(text);
  const auto [last, error] = std::from_chars(text, end, value);
  return error == std::errc() && last == end ? value : otherwise;
}

bool all_are_here(const Environment& environment, const Variables& variables, int size) {
  return variables.hosts ? number_or(environment(variables.hosts), 0) == 1
                         : number_or(environment(variables.ranks_here), 0) == size;
}

// How to start the ranks that the launcher's variables claim.
std::string right_launcher(const Launcher& launcher, const Start& start) {
  if (launcher.is_srun())
    return fmt::format("start them with a PMIx server (srun --mpi=list must name pmix):\n    {}",
                       srun_line(*launcher.size, start));
  if (launcher.on_one_host)
    return fmt::format("start them with the mpirun of the MPI library that ropewalk was built with:\n    {}",
                       mpirun_line(*launcher.size, start));
  return fmt::format(
      "start them with the mpirun of the MPI library that ropewalk was built with; HOSTS is a file of lines 'NAME "
      "slots=RANKS' (launch/guide/several-hosts.md):\n    mpirun -n {} --hostfile HOSTS {}",
      *launcher.size, command_line(start));
}

// The command of a run of one rank, in spite of what the variables claim.
std::string line_of_one_rank(const Launcher& launcher, const Start& start) {
  std::vector<std::string> others;  // srun sets Slurm's own
  for (const std::string& variable : launcher.claims)
    if (!variable.starts_with("SLURM_")) others.push_back(variable);
  return (launcher.is_srun() ? "srun -n1 " : "") + command_line(start, others);
}

// Reads size and rank from the variables of the first launcher that claims several ranks, else of the first that claims
// one.
void read_claims(const Environment& environment, Launcher& launcher) {
  for (const Variables& variables : kLaunchers) {
    const int size = number_or(environment(variables.size), 0), rank = number_or(environment(variables.rank), -1);
    if (size < 1 || rank < 0) continue;
    if (size > 1) launcher.claims.emplace_back(variables.size);
    if (launcher.size && (size == 1 || *launcher.size > 1)) continue;
    launcher.size = size;
    launcher.rank = rank;
    launcher.variable = variables.size;
    launcher.on_one_host = all_are_here(environment, variables, size);
  }
}

bool read_server(const Environment& environment, const std::function<bool(const std::string&)>& is_there,
                 Launcher& launcher) {
  const int rank = number_or(environment("PMIX_RANK"), -1);
  if (rank < 0 || !environment("PMIX_NAMESPACE")) return false;
  for (const char* variable : kServers) {
    const char* const server = environment(variable);
    if (!server || !is_there(server)) continue;  // left over from a job that has ended
    launcher.has_server = true;
    launcher.rank = rank;
    if (const char* const folders = environment("OMPI_MCA_orte_top_session_dir")) launcher.launcher_folders = folders;
    for (const Variables& own : {kOpenMpi, kSlurm}) {  // mpirun may run inside a step of Slurm
      const int size = number_or(environment(own.size), 0);
      if (size < 1) continue;
      launcher.size = size;
      launcher.variable = own.size;
      launcher.rank_here = number_or(environment(own.rank_here), 0);
      launcher.on_one_host = all_are_here(environment, own, size);
      break;
    }
    return true;
  }
  return false;
}

}  // namespace

bool listens(const std::string& server) {
  constexpr std::string_view kScheme = ";tcp4://";
  const size_t begin = server.find(kScheme), colon = server.rfind(':');
  if (begin == server.npos || colon <= begin + kScheme.size()) return true;
  const std::string host = server.substr(begin + kScheme.size(), colon - begin - kScheme.size());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  const int port = number_or(server.c_str() + colon + 1, 0);
  if (port < 1 || port > 65535 || inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return true;
  address.sin_port = htons(static_cast<uint16_t>(port));
  const int file = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (file < 0) return true;
  int error = connect(file, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  pollfd wait{file, POLLOUT, 0};
  if (error == EINPROGRESS && poll(&wait, 1, kConnectMilliseconds) == 1) {
    socklen_t length = sizeof error;
    getsockopt(file, SOL_SOCKET, SO_ERROR, &error, &length);
  }
  close(file);
  return error != ECONNREFUSED;
}

Launcher read_launcher(const Environment& environment, const std::function<bool(const std::string&)>& is_there) {
  Launcher launcher;
  if (read_server(environment, is_there, launcher)) return launcher;
  read_claims(environment, launcher);
  if (environment("SLURM_JOB_ID")) launcher.slurm_tasks = number_or(environment("SLURM_NTASKS"), 0);
  return launcher;
}

std::string way_to_start(const Launcher& launcher, int ranks, const Start& start) {
  if (launcher.has_server)
    return fmt::format("start {} with -n {} and your other options", launcher.is_srun() ? "srun" : "mpirun", ranks);
  if (!launcher.slurm_tasks) return "\n    " + mpirun_line(ranks, start);
  const int tasks = *launcher.slurm_tasks;
  return fmt::format("{}\n    {}",
                     0 < tasks && tasks < ranks ? fmt::format("in a Slurm job of {} tasks or more", ranks) : "",
                     srun_line(ranks, start));
}

void check_server(const Launcher& launcher, const std::function<Start()>& start) {
  if (launcher.has_server || launcher.size.value_or(1) == 1) return;
  const Start here = start();
  throw ConfigurationError(
      fmt::format("the job has {} ranks ({}), but they cannot find each other: their launcher runs no PMIx server that "
                  "MPI could ask; {}\n  or, for a run of one rank:\n    {}",
                  *launcher.size, launcher.variable, right_launcher(launcher, here), line_of_one_rank(launcher, here)));
}

void check_world(const Launcher& launcher, int world_size, const std::function<Start()>& start) {
  if (launcher.size.value_or(world_size) == world_size) return;
  throw ConfigurationError(fmt::format("the launcher says that the job has {} ranks ({}), but MPI finds {}; {}",
                                       *launcher.size, launcher.variable, world_size,
                                       right_launcher(launcher, start())));
}

std::string note_on(const Launcher& launcher, const Start& start) {
  return fmt::format("one rank, though the Slurm job around it has {} tasks (SLURM_NTASKS); to start as many:\n    {}",
                     *launcher.slurm_tasks, srun_line(*launcher.slurm_tasks, start));
}

}  // namespace ropewalk
