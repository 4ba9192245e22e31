// Rank 1 of three hangs, and rank 0's wait for it fails. With the argument "deaf", rank 2 does not check whether
// another rank has failed, and receives a long message from rank 0 only afterwards. So rank 0's buffer must still be
// valid: rank 2's MPI reads it from rank 0's memory, or rank 0's MPI sends it. With "throw", rank 0 throws an error
// before it waits. See deadline_test.py.
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "launch/process/process.h"
#include "parallel/communicator/make_communicator.h"

namespace ropewalk {
namespace {

using namespace std::chrono_literals;

constexpr int64_t kElements = 1 << 20;  // large enough that free() returns the memory to the system

ExitCode work(Process& process, const std::string& way) {
  const bool deaf = way == "deaf" && process.rank() == 2;
  LoggedCommunicator world(deaf ? make_world(Transport::kMpi, {60s}) : process.world(process.rank() == 0 ? 1s : 60s),
                           "world", false, process.failure_handler());
  world.barrier();
  if (world.rank() == 1) pause();
  if (world.rank() == 2)
    std::this_thread::sleep_for(1500ms);  // rank 0's wait has failed, and it collects reports for 2 s
  std::vector<int32_t> long_one(kElements, world.rank() == 0 ? 7 : 0);
  int32_t word = 0;
  const Tensor data(long_one.data(), DType::kI32, Device{}, {kElements});
  const Message to_2{2, data}, from_0{0, data}, from_1{1, Tensor(&word, DType::kI32, Device{}, {1})};
  if (world.rank() == 0) {
    const auto exchange = world.start_exchange({&to_2, 1}, {&from_1, 1});
    if (way == "throw") throw DataError("the file is empty");
    exchange->wait();
  }
  if (world.rank() == 2) {
    world.start_exchange({}, {&from_0, 1})->wait();
    say(long_one == std::vector<int32_t>(kElements, 7) ? "rank 2 has received all" : "rank 2 has received rubbish");
    world.barrier();
  }
  return ExitCode::kDone;
}

}  // namespace
}  // namespace ropewalk

int main(int argc, char** argv) {
  using namespace ropewalk;
  const Launcher launcher = read_launcher([](const char* name) { return std::getenv(name); });
  const std::string way = argc > 1 ? argv[1] : "";
  return static_cast<int>(run_process(launcher, [&](Process& process) { return work(process, way); }));
}
