// A watchdog for blocking calls that wait for other ranks and cannot be polled: MPI_Init and MPI's own collectives.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace ropewalk {

// Called on another thread when a call has exceeded its deadline: the call's name, and the seconds that it has taken so
// far. Must not call MPI, and should end the process, because the call may never return.
using OverdueHandler = std::function<void(const std::string& call, double seconds)>;

class CallWatch {
 public:
  // Watches one call, from construction to destruction. Does nothing if the handler is empty.
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
