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
// The last two: MPICH and its derivatives; torchrun and Kubeflow.
constexpr Variables kLaunchers[] = {kOpenMpi, kSlurm, {"PMI_SIZE", "PMI_RANK"}, {"WORLD_SIZE", "RANK"}};
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

bool is_variable_of_slurm(std::string_view variable) { return variable.starts_with("SLURM_"); }

std::string right_start(const Launcher& launcher, const Start& start) {
  return is_variable_of_slurm(launcher.variable)
             ? fmt::format("start them with a PMIx server (srun --mpi=list must name pmix):\n    {}",
                           srun_line(*launcher.size, start))
             : fmt::format("start them with the mpirun of the MPI library that ropewalk was built with:\n    {}",
                           mpirun_line(*launcher.size, start));
}

// Reads size and rank from the variables of the first launcher that claims several ranks, else of the first that claims
// one.
void read_claims(const Environment& environment, Launcher& launcher) {
  for (const Variables& variables : kLaunchers) {
    const int size = number_or(environment(variables.size), 0), rank = number_or(environment(variables.rank), -1);
    if (size < 1 || rank < 0 || size <= launcher.size.value_or(0)) continue;
    launcher.size = size;
    launcher.rank = rank;
    launcher.variable = variables.size;
    if (size > 1) return;
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
      launcher.on_one_host =
          own.hosts ? number_or(environment(own.hosts), 0) == 1 : number_or(environment(own.ranks_here), 0) == size;
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
  const int tasks = environment("SLURM_JOB_ID") ? number_or(environment("SLURM_NTASKS"), 0) : 0;
  if (tasks > 1 && launcher.size.value_or(1) == 1) launcher.tasks_around = tasks;
  return launcher;
}

std::string start_line(const Launcher& launcher, int ranks, const Start& start) {
  return is_variable_of_slurm(launcher.variable) && launcher.size.value_or(1) > 1 ? srun_line(ranks, start)
                                                                                  : mpirun_line(ranks, start);
}

void check_server(const Launcher& launcher, const Start& start) {
  if (launcher.has_server || launcher.size.value_or(1) == 1) return;
  throw ConfigurationError(fmt::format(
      "the job has {} ranks ({}), but they cannot find each other: their launcher runs no PMIx server that "
      "MPI could ask; {}\n  or, for a run of one rank:\n    {}",
      *launcher.size, launcher.variable, right_start(launcher, start), command_line(start, launcher.variable)));
}

void check_world(const Launcher& launcher, int world_size, const Start& start) {
  if (launcher.size.value_or(world_size) == world_size) return;
  throw ConfigurationError(fmt::format("the launcher says that the job has {} ranks ({}), but MPI finds {}; {}",
                                       *launcher.size, launcher.variable, world_size, right_start(launcher, start)));
}

std::string note_on(const Launcher& launcher, const Start& start) {
  if (launcher.tasks_around == 0) return "";
  return fmt::format("one rank, though the Slurm job around it has {} tasks (SLURM_NTASKS); to start as many:\n    {}",
                     launcher.tasks_around, srun_line(launcher.tasks_around, start));
}

}  // namespace ropewalk
