// One device, its memory and its streams, implemented by CUDA's runtime library (device/runtime.cpp) or by the
// emulation (emulation/runtime.cpp).
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

// A point in a stream: it has passed when all work enqueued before it is done. A copy of an Event is the same point.
class Event {
 public:
  Event() = default;    // one that has passed
  bool passed() const;  // throws DeviceError if the work before it has failed

 private:
  friend class Runtime;
  struct State;
  std::shared_ptr<State> state_;
};

class Runtime final : public DeviceTimeline {
 public:
  // Uses device local_rank modulo the number of this host's devices. Throws DeviceError if there is no device, if it is
  // older than compute capability 8.0 (bf16), if this build has no kernels for it, or if the driver is older than the
  // runtime library.
  explicit Runtime(int local_rank);
  ~Runtime() override;
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  Device device() const;
  DeviceStatus status() const;
  int multiprocessors() const;
  bool has_hopper() const;    // whether device and build support the Hopper form of attention
  bool lacks_hopper() const;  // whether the device supports it, but this build was not compiled for sm_90a
  void check_hopper() const;  // throws DeviceError, which says what is missing, if not has_hopper()
  int64_t peak_bytes() const { return peak_; }  // the most that was allocated at any time
  Stream stream() const;  // the kernels' stream; also makes this device the current one of the calling thread
  Stream make_stream();   // another stream, for transfers that overlap with kernels; lives as long as this object

  Event mark(Stream stream) const;
  // Work that is enqueued on the stream from now on starts after the event.
  void follow(Stream stream, const Event& event) const;
  void wait(const Event& event) const;  // blocks the host until the event has passed; calls the watch meanwhile
  void synchronize() const { wait(mark(stream())); }
  // `watch` is called periodically while the host waits. It may throw, to end a wait for work that cannot finish.
  void set_watch(std::function<void()> watch) { watch_ = std::move(watch); }

  void record(bool on) override;
  DeviceMoment moment() override { return moment_of(mark(stream())); }
  DeviceMoment moment_of(const Event& event) const;  // empty if record() was off when the event was marked

  // allocate() throws OutOfMemory, with the bytes requested and free; allocate_pinned() throws DeviceError. The release
  // functions wait until all work of the device is done.
  void* allocate(int64_t bytes);
  void release(void* memory, int64_t bytes) noexcept;
  void* allocate_pinned(int64_t bytes);  // page-locked host memory, for asynchronous copies
  void release_pinned(void* memory) noexcept;

  void to_device(const void* host, void* device, int64_t bytes);  // returns when the copy is done
  void to_host(const void* device, void* host, int64_t bytes);    // copies after all earlier kernels, then returns
  // Enqueues a copy between device memory and pinned memory, in any direction.
  void copy(const void* from, void* to, int64_t bytes, Stream stream) const;

  void clear(void* memory, int64_t bytes) const;  // zeros it, in the kernels' stream

  // Scratch memory of at least `bytes` for the kernels of one operation. The next call may return the same memory.
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
