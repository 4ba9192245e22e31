#include "kernels/cuda/emulation/streams.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace ropewalk::simt {
namespace {

constexpr std::chrono::microseconds kPause{20};  // while no stream can continue

}  // namespace

void Stream::enqueue(Work work) {
  {
    const std::lock_guard lock(device_.mutex_);
    if (device_.error_) return;
    queue_.push_back(std::move(work));
  }
  device_.changed_.notify_all();
}

void Stream::run(std::function<void()> work) {
  enqueue([work = std::move(work)] {
    work();
    return true;
  });
}

Streams::Streams() : thread_([this] { work(); }) {}

Streams::~Streams() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Stream* Streams::create() {
  const std::lock_guard lock(mutex_);
  return streams_.emplace_back(std::make_unique<Stream>(*this)).get();
}

void Streams::check() {
  const std::lock_guard lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

void Streams::drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return idle(); });
}

bool Streams::idle() const {
  return std::ranges::all_of(streams_, [](const auto& stream) { return stream->queue_.empty(); });
}

void Streams::work() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (idle()) {
      changed_.notify_all();
      if (ending_) return;
      changed_.wait(lock, [&] { return ending_ || !idle(); });
      continue;
    }
    if (take_turns(lock)) continue;
    lock.unlock();
    std::this_thread::sleep_for(kPause);
    lock.lock();
  }
}

bool Streams::take_turns(std::unique_lock<std::mutex>& lock) {
  std::vector<Stream*> turns;
  for (const auto& stream : streams_)
    if (!stream->queue_.empty()) turns.push_back(stream.get());
  std::shuffle(turns.begin(), turns.end(), draw_);
  for (Stream* stream : turns) {
    Stream::Work& first = stream->queue_.front();  // the reference stays valid while work is added behind it
    lock.unlock();
    bool done = false;
    std::exception_ptr error;
    try {
      done = first();
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (error) {
      error_ = error;
      for (const auto& other : streams_) other->queue_.clear();
      return true;
    }
    if (!done) continue;
    stream->queue_.pop_front();
    return true;
  }
  return false;
}

}  // namespace ropewalk::simt
