// The command that starts the ranks of a job on this host, for messages that say what to run.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

struct Start {
  std::vector<std::string> command;  // the program and its arguments
  bool root = false;                 // mpirun refuses to start without a permission, and the environment gives none
  int cores = 1;                     // as many ranks Open MPI starts without --oversubscribe
  int cpus = 1;                      // hardware threads that mpirun may use here
};

// Of this process; under mpirun, of the mpirun that started it, whose CPUs are not yet divided among ranks.
Start this_start();

// Ranks that wait give their CPU to others: by the variables that Open MPI 4 gives its ranks.
bool ranks_yield();

// "mpirun -n 4 --oversubscribe --bind-to none ... ropewalk train ...", with the options that this host and user need.
// unbound: also where there are cores enough.
std::string mpirun_line(int ranks, const Start& start, bool unbound = false);
std::string srun_line(int ranks, const Start& start);

// The command as a shell reads it; without a variable of the environment, if one is named.
std::string command_line(const Start& start, const std::string& without_variable = "");

std::string shell_quoted(std::string_view word);

}  // namespace ropewalk
