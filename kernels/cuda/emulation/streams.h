// The streams of a device on the host: one thread does what is given to them, each stream's work in its order. Which of
// several streams goes on is drawn anew each time, and the host does not wait: code that forgets an event reads what is
// not there yet, or writes over what is still needed.
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
  // False: it cannot go on yet, and is to be asked again.
  using Work = std::function<bool()>;

  explicit Stream(Streams& device) : device_(device) {}
  void enqueue(Work work);
  void run(std::function<void()> work);  // that can always go on

 private:
  friend class Streams;
  Streams& device_;
  std::deque<Work> queue_;
};

class Streams {
 public:
  Streams();
  ~Streams();  // when all work is done, or some has failed
  Streams(const Streams&) = delete;
  Streams& operator=(const Streams&) = delete;

  Stream* create();
  // Throws what a piece of work has thrown. After that nothing more is done: all work counts as done.
  void check();
  // Waits until nothing is left to do.
  void drain();

 private:
  friend class Stream;
  void work();
  bool take_turns(std::unique_lock<std::mutex>& lock);  // whether any stream went on
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
