// What the environment says of the launcher that started this process, before MPI is asked.
#pragma once

#include <functional>
#include <string>

namespace ropewalk {

struct Launcher {
  int size = 1, rank = 0;  // of the job, as the launcher tells it
  std::string variable;    // that gave the size; empty: started by hand

  bool started_us() const { return !variable.empty(); }
};

// environment: std::getenv, or a test's.
Launcher read_launcher(const std::function<const char*(const char*)>& environment);

// Ranks that were started as a job but found nobody (a launcher and an MPI library that do not know each other) would
// each train alone, over one another's files. Throws ConfigurationError.
void check_world(const Launcher& launcher, int world_size);

}  // namespace ropewalk
