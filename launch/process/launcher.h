// What the environment says of the launcher that started this process, before MPI is asked.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "launch/process/start.h"

namespace ropewalk {

// Variables are inherited: those of a shell inside a job look like those of a rank. Certain is only that MPI finds the
// other ranks through a server of the launcher, when there is one: PMIx for Open MPI (mpirun, srun --mpi=pmix). Without
// a server a job of one rank can still run, and one of several can not.
struct Launcher {
  bool has_server = false;
  int rank = 0;                  // of the job, as the variables tell it
  std::optional<int> size;       // absent: they do not
  std::string variable;          // that gave the size
  bool on_one_host = false;      // all ranks of the job; where it is known
  int rank_here = 0;             // among those on this host
  std::string launcher_folders;  // of this user on this host; empty: not known
  int tasks_around = 0;          // of a batch job in which this process was started alone; 0: none

  // This process is one of several ranks, which MPI will find.
  bool is_of_a_job() const { return has_server && size != 1; }
  // It is not the one that does what takes no ranks.
  bool leaves_it_to_rank_0() const { return has_server && rank > 0; }
  std::optional<int> job_size() const { return has_server ? size : std::nullopt; }
};

// Where a launcher's server listens, of its variable ("NAME;tcp4://127.0.0.1:41391"): whether somebody does. What is
// not understood counts as listening.
bool listens(const std::string& server);

// environment: std::getenv, or a test's; so with is_there.
Launcher read_launcher(const std::function<const char*(const char*)>& environment,
                       const std::function<bool(const std::string& server)>& is_there = listens);

// Ranks that were started as a job but find nobody (a launcher and an MPI library that do not know each other) would
// each train alone, over one another's files. Both throw ConfigurationError: before MPI is asked, and after.
void check_server(const Launcher& launcher, const Start& start);
void check_world(const Launcher& launcher, int world_size, const Start& start);

// The line that starts so many ranks with the launcher that started this process, or else with mpirun.
std::string start_line(const Launcher& launcher, int ranks, const Start& start);

// What may surprise in a run of one rank; empty: nothing.
std::string note_on(const Launcher& launcher, const Start& start);

}  // namespace ropewalk
