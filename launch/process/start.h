// The command that starts the ranks of a job on this host, for messages that say what to run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

struct Start {
  std::vector<std::string> command;  // the program and its arguments
  bool root = false;                 // mpirun needs --allow-run-as-root: root, and no variable of Open MPI allows it
  int cores = 1;                     // physical cores: the most ranks that Open MPI starts without --oversubscribe
  int cpus = 1;                      // hardware threads that mpirun may use on this host
};

// Describes this process. If its parent may use more CPUs, cores and cpus are the parent's: mpirun may bind each rank
// to a part of its own CPUs.
Start this_start();

// Whether ranks that wait inside MPI yield their CPU, according to the variables that Open MPI 4 sets for its ranks.
bool ranks_yield();

// "mpirun -n 4 --oversubscribe --bind-to none ... ropewalk train ...", with the options that this host and user need.
// unbound: adds --bind-to none even if there are enough cores.
std::string mpirun_line(int ranks, const Start& start, bool unbound = false);
// "srun --mpi=pmix -n 4 ropewalk train ...".
std::string srun_line(int ranks, const Start& start);

// The command, quoted for a shell. If a variable is named, `env --unset=VARIABLE` precedes the command.
std::string command_line(const Start& start, const std::string& without_variable = "");

std::string shell_quoted(std::string_view word);

}  // namespace ropewalk
