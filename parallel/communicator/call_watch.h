// A watchdog for blocking calls that wait for other ranks and cannot be polled: MPI_Init and MPI's own collectives.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace ropewalk {

// Called on another thread with the call that has outlasted its deadline, and its seconds so far. It must not call MPI,
// and ends the process, because the call may never return.
using OverdueHandler = std::function<void(const std::string& call, double seconds)>;

class CallWatch {
 public:
  // Watches until it is destroyed. Without a handler it does nothing.
  CallWatch(std::string call, std::chrono::milliseconds deadline, OverdueHandler handler);
  ~CallWatch();
  CallWatch(const CallWatch&) = delete;
  CallWatch& operator=(const CallWatch&) = delete;

 private:
  void watch(std::chrono::milliseconds deadline);

  std::string call_;
  OverdueHandler handler_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::thread thread_;
};

}  // namespace ropewalk
