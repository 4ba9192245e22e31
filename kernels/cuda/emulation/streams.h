// The streams of a device on the host. One thread executes their work, each stream's in order. Which of several streams
// continues is random, and the host does not wait: code that forgets an event reads data before it is written, or
// overwrites data that is still needed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

namespace ropewalk::simt {

class Streams;

class Stream {
 public:
  // Returns true when it is done; false if it cannot continue yet and must be called again.
  using Work = std::function<bool()>;

  explicit Stream(Streams& device) : device_(device) {}
  void enqueue(Work work);
  void run(std::function<void()> work);  // enqueues work that never waits

 private:
  friend class Streams;
  Streams& device_;
  std::deque<Work> queue_;
};

class Streams {
 public:
  Streams();
  ~Streams();  // waits until all work is done, or some has failed
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  Stream* create();
  // Throws the exception that work has thrown, if any. After an exception, all other work is dropped.
  void check();
  // Waits until no work is left.
  void drain();

 private:
  friend class Stream;
  void work();
  bool take_turns(std::unique_lock<std::mutex>& lock);  // returns whether any work was completed
  bool idle() const;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::exception_ptr error_;
  bool ending_ = false;
  std::minstd_rand draw_;
  std::thread thread_;
};

}  // namespace ropewalk::simt
