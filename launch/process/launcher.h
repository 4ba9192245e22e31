// The launcher that started this process, as far as the environment shows it before MPI_Init.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "launch/process/start.h"

namespace ropewalk {

// Environment variables alone prove nothing, because they are inherited: a shell that was started inside a job has the
// variables of a rank. The only reliable sign of a job is the launcher's PMIx server (mpirun, srun --mpi=pmix), through
// which Open MPI finds the other ranks. Without a server one rank can run alone, but a job of several ranks cannot
// start.
struct Launcher {
  bool has_server = false;
  int rank = 0;                          // in the job, from the variables
  std::optional<int> size;               // of the job, from the variables; nullopt: none of them gives it
  std::string variable;                  // name of the variable that gave the size
  bool on_one_host = false;              // true only if all ranks of the job are known to be on one host
  int rank_here = 0;                     // local rank: among the job's ranks on this host
  std::string launcher_folders = {};     // directory of this user's launchers on this host; empty: unknown
  std::vector<std::string> claims = {};  // variables that give a size above 1, though no server exists
  // SLURM_NTASKS of the Slurm job around this process, 0 if it is not set. nullopt: no Slurm job, or has_server.
  std::optional<int> slurm_tasks = {};

  // This process is one of several ranks, or of an unknown number, that will find each other through MPI.
  bool is_of_a_job() const { return has_server && size != 1; }
  // This process is not rank 0, so it exits and leaves verbs that run on one rank to rank 0.
  bool leaves_it_to_rank_0() const { return has_server && rank > 0; }
  std::optional<int> job_size() const { return has_server ? size : std::nullopt; }
  // True: srun started this process. False: another launcher, or none.
  bool is_srun() const { return variable.starts_with("SLURM_"); }
  // A run of one rank inside a Slurm job of several tasks.
  bool is_one_of_more_tasks() const { return size.value_or(1) == 1 && slurm_tasks.value_or(0) > 1; }
};

// Whether a process listens at the address of the launcher's server. `server` is the value of a PMIX_SERVER_URI
// variable ("NAME;tcp4://127.0.0.1:41391"). Returns false only if a connection is refused; true if the address cannot
// be parsed.
bool listens(const std::string& server);

// Reads the environment through `environment` (std::getenv). is_there says whether a server listens; tests replace
// both.
Launcher read_launcher(const std::function<const char*(const char*)>& environment,
                       const std::function<bool(const std::string& server)>& is_there = listens);

// Throw ConfigurationError if the ranks of a job cannot find each other, because the launcher and the MPI library do
// not fit together. Otherwise each rank would train alone and overwrite the files of the others. check_server is called
// before MPI_Init; check_world after it, with the size that MPI reports. start: for the message only.
void check_server(const Launcher& launcher, const std::function<Start()>& start);
void check_world(const Launcher& launcher, int world_size, const std::function<Start()>& start);

// How to start `ranks` ranks, as the end of a sentence. If the process has a server: "start mpirun with -n 4 and your
// other options" (or srun), because the user's options are not known here. Else a complete command: srun inside a Slurm
// job, mpirun elsewhere.
std::string way_to_start(const Launcher& launcher, int ranks, const Start& start);

// A note for the user of a run for which is_one_of_more_tasks() holds.
std::string note_on(const Launcher& launcher, const Start& start);

}  // namespace ropewalk
