// One device, its memory and its streams of work, behind which CUDA's runtime library (device/runtime.cpp) or the
// imitation (emulation/runtime.cpp) is at work.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "kernels/cuda/platform.h"
#include "kernels/device.h"
#include "kernels/trace.h"

namespace ROPEWALK_CUDA {

#ifdef ROPEWALK_CUDA_EMULATED
using Stream = simt::Stream*;
#else
using Stream = cudaStream_t;
#endif

// A moment in a stream's work: when all that had been given to the stream is done. Copies are the same moment.
class Event {
 public:
  Event() = default;    // has passed
  bool passed() const;  // throws DeviceError where the work before it has failed

 private:
  friend class Runtime;
  struct State;
  std::shared_ptr<State> state_;
};

class Runtime final : public DeviceTimeline {
 public:
  // The local_rank'th device of this host, counted around. Throws DeviceError: no device, one older than compute
  // capability 8.0 (bf16), a driver older than the runtime.
  explicit Runtime(int local_rank);
  ~Runtime() override;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Device device() const;
  DeviceStatus status() const;
  int multiprocessors() const;
  // Whether device and build have what Hopper's form of attention takes; and a DeviceError that tells what is missing.
  bool has_hopper() const;
  bool lacks_hopper() const;  // the device is one, and the build has no kernels for it
  void check_hopper() const;
  int64_t peak_bytes() const { return peak_; }  // the most that was allocated at a time
  Stream stream() const;  // the kernels'; makes the device this thread's, so that what is launched goes to it
  Stream make_stream();   // one beside the kernels', for what moves meanwhile; lives as long as this

  Event mark(Stream stream) const;
  // What is given to the stream from now on begins after the event.
  void follow(Stream stream, const Event& event) const;
  void wait(const Event& event) const;  // the host, which is watched
  void synchronize() const { wait(mark(stream())); }
  // Called now and then while the host waits; may throw, so that it does not wait for ever for work that cannot end.
  void set_watch(std::function<void()> watch) { watch_ = std::move(watch); }

  void record(bool on) override;
  DeviceMoment moment() override { return moment_of(mark(stream())); }
  DeviceMoment moment_of(const Event& event) const;  // empty: it was marked while nothing was recorded

  // Throw DeviceError: what was asked, and what there is. Memory is released when all work given to the device is done.
  void* allocate(int64_t bytes);
  void release(void* memory, int64_t bytes) noexcept;
  void* allocate_pinned(int64_t bytes);  // of the host: copies reach it while the host goes on
  void release_pinned(void* memory) noexcept;

  void to_device(const void* host, void* device, int64_t bytes);  // host may change when this returns
  void to_host(const void* device, void* host, int64_t bytes);    // after all earlier kernels
  // In the stream's order, between memory of the device and pinned memory in any direction.
  void copy(const void* from, void* to, int64_t bytes, Stream stream) const;

  void clear(void* memory, int64_t bytes) const;  // zeros, in the kernels' order

  // At least so many bytes for the kernels of one operation; the next operation's may be the same ones.
  void* workspace(int64_t bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
  int index_;
  std::function<void()> watch_;
  int64_t allocated_ = 0, peak_ = 0;  // bytes
  void* workspace_ = nullptr;
  int64_t workspace_bytes_ = 0;
};

}  // namespace ROPEWALK_CUDA
