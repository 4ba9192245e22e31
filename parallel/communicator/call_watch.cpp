#include "parallel/communicator/call_watch.h"

#include <algorithm>
#include <utility>

#include "parallel/communicator/watched_time.h"

namespace ropewalk {

CallWatch::CallWatch(std::string call, std::chrono::milliseconds deadline, OverdueHandler handler)
    : call_(std::move(call)), handler_(std::move(handler)) {
  if (handler_) thread_ = std::thread([this, deadline] { watch(deadline); });
}

CallWatch::~CallWatch() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    done_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void CallWatch::watch(std::chrono::milliseconds deadline) {
  const auto interval = std::clamp(deadline / 20, std::chrono::milliseconds(1), std::chrono::milliseconds(100));
  WatchedTime waited(deadline);
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, interval, [this] { return done_; })) {
    waited.look();
    if (!waited.is_over()) continue;
    lock.unlock();
    return handler_(call_, waited.seconds());
  }
}

}  // namespace ropewalk
