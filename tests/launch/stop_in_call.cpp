// Preloaded into ranks: rank STOP_RANK stops itself (SIGSTOP) just before its STOP_NUMBERth call of the MPI function
// STOP_CALL; "main": before main().
#define OMPI_SKIP_MPICXX 1
#include <mpi.h>

#include <csignal>
#include <cstdlib>
#include <string_view>

namespace {

std::string_view variable(const char* name) {
  const char* const value = std::getenv(name);
  return value ? value : "";
}

void stop_in(std::string_view call) {
  static int left = std::atoi(std::getenv("STOP_NUMBER"));
  if (call == variable("STOP_CALL") && variable("STOP_RANK") == variable("OMPI_COMM_WORLD_RANK") && --left == 0)
    std::raise(SIGSTOP);
}

[[gnu::constructor]] void stop_before_main() { stop_in("main"); }

}  // namespace

extern "C" {
int MPI_Init_thread(int* argc, char*** argv, int wanted, int* given) {
  stop_in("MPI_Init");
  return PMPI_Init_thread(argc, argv, wanted, given);
}
int MPI_Get_library_version(char* text, int* length) {
  stop_in("MPI_Get_library_version");
  return PMPI_Get_library_version(text, length);
}
int MPI_Comm_split_type(MPI_Comm comm, int type, int key, MPI_Info info, MPI_Comm* made) {
  stop_in("MPI_Comm_split_type");
  return PMPI_Comm_split_type(comm, type, key, info, made);
}
int MPI_Comm_dup(MPI_Comm comm, MPI_Comm* made) {
  stop_in("MPI_Comm_dup");
  return PMPI_Comm_dup(comm, made);
}
int MPI_Comm_split(MPI_Comm comm, int color, int key, MPI_Comm* made) {
  stop_in("MPI_Comm_split");
  return PMPI_Comm_split(comm, color, key, made);
}
int MPI_Finalize() {
  stop_in("MPI_Finalize");
  return PMPI_Finalize();
}
}
