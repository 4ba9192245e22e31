// A watch over calls that wait for other ranks and cannot be asked meanwhile how they are: MPI_Init, and what MPI does
// for all members of a group at once.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <string>
#include <thread>

namespace ropewalk {

// Is shown, on another thread, the call that has lasted too long and for how many seconds. It makes no calls of MPI,
// and ends the process: the call may never return.
using OverdueHandler = std::function<void(const std::string& call, double seconds)>;

class CallWatch {
 public:
  // Until it is destroyed. No handler: nobody watches.
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
