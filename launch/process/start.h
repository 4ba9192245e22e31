// The command that starts the ranks of a job on this host, for messages that say what to run.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "launch/process/control_groups.h"

namespace ropewalk {

struct Start {
  std::vector<std::string> command;  // the program and its arguments
  bool root = false;                 // mpirun needs --allow-run-as-root: root, and no variable of Open MPI allows it
  int cores = 1;                     // physical cores in the affinity mask: more ranks get --oversubscribe
  int cpus = 1;                      // hardware threads in the affinity mask, or fewer by the quota of a control group
  bool has_whole_host = false;       // the mask has all CPUs of the host, and no quota limits them
  std::vector<std::string> placement = {};  // OMPI_MCA_rmaps_* variables, which place ranks: mpirun_line() unsets them
};

// Describes this process. If its parent's affinity mask is larger, the parent's mask is used: mpirun may bind each rank
// to a part of mpirun's CPUs.
Start this_start(const ControlGroups& groups = {});

// Whether ranks that wait inside MPI yield their CPU, according to the variables that Open MPI 4 sets for its ranks.
bool ranks_yield();

// "mpirun -n 4 --oversubscribe --bind-to none ... ropewalk train ...", with the options that this host and user need.
// The command has --bind-to none unless the ranks fill the host: by default Open MPI binds the ranks of every job to
// the host's first cores, so jobs would share cores.
std::string mpirun_line(int ranks, const Start& start);
// "srun --mpi=pmix -n 4 ropewalk train ...".
std::string srun_line(int ranks, const Start& start);

// The command, quoted for a shell. If variables are named, `env --unset=VARIABLE...` precedes the command.
std::string command_line(const Start& start, const std::vector<std::string>& without_variables = {});

std::string shell_quoted(std::string_view word);

}  // namespace ropewalk
