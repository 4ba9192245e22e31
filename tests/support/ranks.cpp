#include "tests/support/ranks.h"

#include <gtest/gtest.h>

#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "parallel/communicator/thread_communicator.h"

namespace ropewalk {

void run_ranks(int size, const std::function<void(const std::shared_ptr<Communicator>& world)>& body,
               std::chrono::milliseconds deadline) {
  ThreadWorld world(size, deadline);
  std::mutex mutex;
  std::exception_ptr first_error;
  const auto run = [&](int rank) {
    try {
      body(world.communicator(rank));
      if (testing::Test::HasFatalFailure()) world.fail("a fatal assertion failed on some rank");
    } catch (...) {
      {
        const std::lock_guard lock(mutex);
        if (!first_error) first_error = std::current_exception();
      }
      world.fail(fmt::format("rank {} has thrown an exception", rank));
    }
  };
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank) threads.emplace_back(run, rank);
  for (std::thread& thread : threads) thread.join();
  if (first_error && !testing::Test::HasFatalFailure()) std::rethrow_exception(first_error);
}

}  // namespace ropewalk
