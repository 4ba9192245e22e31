#include "launch/launcher.h"

#include <charconv>
#include <cstring>
#include <string_view>

#include "kernels/error.h"

namespace ropewalk {

namespace {

struct Variables {
  const char *size, *rank;
};

// Open MPI; MPICH and its kin; srun (a batch script itself has no SLURM_STEP_NUM_TASKS); torchrun.
constexpr Variables kLaunchers[] = {{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},
                                    {"PMI_SIZE", "PMI_RANK"},
                                    {"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"},
                                    {"WORLD_SIZE", "RANK"}};

int number_or(const char* text, int otherwise) {
  int value = otherwise;
  if (text && std::from_chars(text, text + std::strlen(text), value).ec != std::errc()) return otherwise;
  return value;
}

}  // namespace

Launcher read_launcher(const std::function<const char*(const char*)>& environment) {
  for (const Variables& variables : kLaunchers) {
    const int size = number_or(environment(variables.size), 0);
    const int rank = number_or(environment(variables.rank), -1);
    if (size >= 1 && rank >= 0) return {size, rank, variables.size};
  }
  return {};
}

void check_world(const Launcher& launcher, int world_size) {
  if (launcher.size == world_size) return;
  const std::string_view variable = launcher.variable;
  const std::string remedy = variable == "SLURM_STEP_NUM_TASKS"
                                 ? "start it with srun --mpi=pmix (srun --mpi=list tells what there is), or with mpirun"
                                 : "start it with the mpirun of the MPI library that ropewalk was built with";
  throw ConfigurationError(fmt::format("the launcher says that the job has {} ranks ({}), but MPI finds {}; {}",
                                       launcher.size, variable, world_size, remedy));
}

}  // namespace ropewalk
