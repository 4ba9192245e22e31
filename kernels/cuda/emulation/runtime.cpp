#include "kernels/cuda/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "kernels/clock.h"
#include "kernels/cuda/emulation/block.h"
#include "kernels/error.h"

namespace ropewalk::cuda_emulated {

constexpr int64_t kMemory = int64_t{4} << 30;

struct Event::State {
  State(simt::Streams& streams, bool is_timed) : device(streams), timed(is_timed) {}
  simt::Streams& device;
  const bool timed;
  double seconds = 0;  // when it passed
  std::atomic<bool> passed = false;
};

struct Runtime::State {
  simt::Streams streams;
  simt::Stream* kernels = streams.create();
  bool recording = false;
};

bool Event::passed() const {
  if (!state_ || state_->passed) return true;
  state_->device.check();
  return false;
}

Runtime::Runtime(int local_rank) : state_(std::make_unique<State>()), index_(local_rank) {}
Runtime::~Runtime() {
  state_->streams.drain();
  std::free(workspace_);
}

Device Runtime::device() const { return {Device::Kind::kCuda, index_}; }
// Random, because results must not depend on it.
int Runtime::multiprocessors() const { return 1 + static_cast<int>(simt::draw()() % 6); }
// The emulation supports both forms of attention. has_hopper() is false so that the automatic choice is the portable
// form, which is faster to emulate; check_hopper() accepts an explicit choice of the Hopper form.
bool Runtime::has_hopper() const { return false; }
bool Runtime::lacks_hopper() const { return false; }
void Runtime::check_hopper() const {}
Stream Runtime::stream() const { return state_->kernels; }
Stream Runtime::make_stream() { return state_->streams.create(); }

Event Runtime::mark(Stream stream) const {
  Event event;
  event.state_ = std::make_shared<Event::State>(state_->streams, state_->recording);
  stream->run([state = event.state_] {
    state->seconds = steady_seconds();
    state->passed = true;
  });
  return event;
}

void Runtime::follow(Stream stream, const Event& event) const {
  if (event.state_) stream->enqueue([state = event.state_] { return state->passed.load(); });
}

void Runtime::wait(const Event& event) const {
  while (!event.passed()) {
    if (watch_) watch_();
    std::this_thread::sleep_for(std::chrono::microseconds(10));
  }
  state_->streams.check();
}

void Runtime::record(bool on) { state_->recording = on; }

DeviceMoment Runtime::moment_of(const Event& event) const {
  if (!event.state_ || !event.state_->timed) return {};
  return [this, event] {
    wait(event);
    return event.state_->seconds;
  };
}

DeviceStatus Runtime::status() const {
  return {"emulated device", fmt::format("{}", fmt::ptr(this)), kMemory, kMemory - allocated_};
}

namespace {

// Filled with NaNs, because no code may depend on the content of new memory.
void* poisoned(int64_t bytes) {
  const size_t size = (static_cast<size_t>(std::max<int64_t>(bytes, 1)) + 255) / 256 * 256;
  void* memory = std::aligned_alloc(256, size);
  if (!memory) throw DeviceError(fmt::format("{} bytes for an emulated device", bytes));
  std::memset(memory, 0xff, size);
  return memory;
}

}  // namespace

void* Runtime::allocate(int64_t bytes) {
  if (allocated_ + bytes > kMemory)
    throw OutOfMemory(
        fmt::format("the emulated device has {} bytes free, and {} more were asked for", kMemory - allocated_, bytes));
  void* const memory = poisoned(bytes);
  allocated_ += bytes;
  peak_ = std::max(peak_, allocated_);
  return memory;
}
void* Runtime::allocate_pinned(int64_t bytes) { return poisoned(bytes); }

// Waits until all work is done, as cudaFree does.
void Runtime::release(void* memory, int64_t bytes) noexcept {
  state_->streams.drain();
  std::free(memory);
  allocated_ -= bytes;
}
void Runtime::release_pinned(void* memory) noexcept { release(memory, 0); }

void Runtime::to_device(const void* host, void* device, int64_t bytes) {
  copy(host, device, bytes, stream());
  synchronize();
}
void Runtime::to_host(const void* device, void* host, int64_t bytes) {
  copy(device, host, bytes, stream());
  synchronize();
}
void Runtime::copy(const void* from, void* to, int64_t bytes, Stream stream) const {
  if (bytes > 0) stream->run([=] { std::memcpy(to, from, static_cast<size_t>(bytes)); });
}

void Runtime::clear(void* memory, int64_t bytes) const {
  stream()->run([=] { std::memset(memory, 0, static_cast<size_t>(bytes)); });
}

// New memory for each call, so that no operation finds data of an earlier one.
void* Runtime::workspace(int64_t bytes) {
  stream()->run([old = workspace_] { std::free(old); });
  return workspace_ = poisoned(bytes);
}

}  // namespace ropewalk::cuda_emulated
