// A job in which rank 1 ends, in the way that the first argument names, while the others wait for it. See
// mpi_death_test.py.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "parallel/communicator/logged_communicator.h"
#include "parallel/communicator/mpi_communicator.h"

namespace ropewalk {
namespace {

void die(const std::string& way) {
  if (way == "kill") kill(getpid(), SIGKILL);
  if (way == "exit") std::exit(7);
  if (way == "throw") throw DataError("the file is empty");
  if (way == "hang") pause();
}

void work(const std::string& way) {
  LoggedCommunicator world(make_mpi_world({std::chrono::seconds(way == "hang" ? 1 : 60)}), "world");
  for (int step = 0; step < 1'000'000; ++step) {
    if (step == 100 && world.rank() == 1) die(way);
    sum_of(world, step);
  }
}

}  // namespace
}  // namespace ropewalk

int main(int argc, char** argv) {
  using namespace ropewalk;
  const MpiSession session;
  try {
    work(argc > 1 ? argv[1] : "");
  } catch (const Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    session.abort(static_cast<int>(error.code()));
  }
  return 0;
}
