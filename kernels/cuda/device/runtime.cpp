#include "kernels/cuda/runtime.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/clock.h"
#include "kernels/cuda/device/check.h"
#include "kernels/cuda/device/image.h"
#include "kernels/cuda/requirements.h"
#include "kernels/error.h"

namespace ropewalk::cuda {
namespace {

constexpr double kWatchSeconds = 0.1;
constexpr double kEagerSeconds = 1e-3;  // polling without a pause
constexpr auto kPause = std::chrono::microseconds(20);
constexpr int64_t kStride = 256;  // calls of stream() between waits

}  // namespace

void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  cudaGetLastError();  // clears it; otherwise a later call would report it again
  int device = -1;
  cudaGetDevice(&device);
  throw DeviceError(
      fmt::format("CUDA device {}: {}: {} ({})", device, what, cudaGetErrorString(error), cudaGetErrorName(error)));
}

struct Event::State {
  State(int index, bool is_timed) : timed(is_timed) {
    check(cudaSetDevice(index), "selecting the device");
    check(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming), "creating an event");
  }
  ~State() { cudaEventDestroy(event); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  cudaEvent_t event = nullptr;
  const bool timed;
};

struct Runtime::State {
  std::vector<cudaStream_t> streams;  // the first is the kernels' stream
  int64_t given = 0;                  // number of calls of stream()
  Event milestone;                    // marked at the latest call whose number is a multiple of kStride
  bool recording = false;
  Event origin;               // the device's times are relative to it
  double origin_seconds = 0;  // the host's time of it

  Stream add_stream(int priority) {  // lower numbers run first
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, priority), "creating a stream");
    streams.push_back(stream);
    return stream;
  }
};

bool Event::passed() const {
  if (!state_) return true;
  const cudaError_t error = cudaEventQuery(state_->event);
  if (error != cudaErrorNotReady)
    check(error, "work enqueued earlier");
  else
    cudaGetLastError();  // clears it; otherwise the check of a launch might report it
  return error == cudaSuccess;
}

namespace {

DeviceFacts facts_of(int index) {
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index), "reading its properties");
  return {index, properties.name, properties.major, properties.minor};
}

}  // namespace

Runtime::Runtime(int local_rank) : state_(std::make_unique<State>()) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found == cudaErrorInsufficientDriver) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    check_driver(driver, runtime);
  }
  if (found == cudaErrorNoDevice || found == cudaErrorInsufficientDriver)
    count = 0;
  else
    check(found, "looking for devices");
  check_count(count);
  index_ = local_rank % count;
  const DeviceFacts facts = facts_of(index_);
  check_age(facts);
  check(cudaSetDevice(index_), "selecting the device");
  check_image(facts, has_image(), ROPEWALK_CUDA_ARCHITECTURES);
  state_->add_stream(0);
}

Runtime::~Runtime() {
  cudaSetDevice(index_);
  cudaFree(workspace_);  // waits for all work
  for (cudaStream_t stream : state_->streams) cudaStreamDestroy(stream);
}

// A stream's queue holds about a thousand launches. When it is full, a launch blocks the host, which then cannot call
// the watch. So the host waits here before the queue is full.
Stream Runtime::stream() const {
  check(cudaSetDevice(index_), "selecting the device");
  const cudaStream_t kernels = state_->streams.front();
  if (++state_->given % kStride == 0) wait(std::exchange(state_->milestone, mark(kernels)));
  return kernels;
}

// The stream has high priority: its few blocks start before the waiting blocks of a large kernel. (The Hopper forward
// of attention is persistent and occupies all SMs: a kernel that starts later waits until it ends.)
Stream Runtime::make_stream() {
  check(cudaSetDevice(index_), "selecting the device");
  int least = 0, greatest = 0;
  check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "reading the priorities of streams");
  return state_->add_stream(greatest);
}

Event Runtime::mark(Stream stream) const {
  Event event;
  event.state_ = std::make_shared<Event::State>(index_, state_->recording);
  check(cudaEventRecord(event.state_->event, stream), "recording an event");
  return event;
}

void Runtime::follow(Stream stream, const Event& event) const {
  check(cudaSetDevice(index_), "selecting the device");
  if (event.state_) check(cudaStreamWaitEvent(stream, event.state_->event, 0), "making a stream wait for an event");
}

void Runtime::wait(const Event& event) const {
  const double begin = steady_seconds();
  double next_look = begin + kWatchSeconds;
  while (!event.passed()) {
    const double now = steady_seconds();
    if (now - begin < kEagerSeconds)
      sched_yield();
    else
      std::this_thread::sleep_for(kPause);
    if (!watch_ || now < next_look) continue;
    watch_();
    next_look = now + kWatchSeconds;
  }
}

// Relates the device's clock to the host's: the host polls for an event on an idle device, and so knows its time to
// some microseconds.
void Runtime::record(bool on) {
  state_->recording = on;
  if (!on) return;
  synchronize();
  state_->origin = mark(stream());
  while (!state_->origin.passed()) {
  }
  state_->origin_seconds = steady_seconds();
}

DeviceMoment Runtime::moment_of(const Event& event) const {
  if (!event.state_ || !event.state_->timed) return {};
  return [this, event] {
    wait(event);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, state_->origin.state_->event, event.state_->event),
          "reading the time of an event");
    return state_->origin_seconds + 1e-3 * static_cast<double>(milliseconds);
  };
}

DeviceStatus Runtime::status() const {
  check(cudaSetDevice(index_), "selecting the device");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, index_), "reading its properties");
  size_t free = 0, all = 0;
  check(cudaMemGetInfo(&free, &all), "reading its free memory");
  std::string id;
  for (const char byte : properties.uuid.bytes) id += fmt::format("{:02x}", static_cast<unsigned char>(byte));
  return {properties.name, id, static_cast<int64_t>(all), static_cast<int64_t>(free)};
}

int Runtime::multiprocessors() const {
  int count = 0;
  check(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, index_),
        "reading its number of multiprocessors");
  return count;
}

bool Runtime::has_hopper() const {
  check(cudaSetDevice(index_), "selecting the device");
  return is_hopper(facts_of(index_)) && has_hopper_instructions();
}

bool Runtime::lacks_hopper() const {
  check(cudaSetDevice(index_), "selecting the device");
  return is_hopper(facts_of(index_)) && !has_hopper_instructions();
}

void Runtime::check_hopper() const {
  check(cudaSetDevice(index_), "selecting the device");
  cuda::check_hopper(facts_of(index_), has_hopper_instructions(), ROPEWALK_CUDA_ARCHITECTURES);
}

Device Runtime::device() const { return {Device::Kind::kCuda, index_}; }

void* Runtime::allocate(int64_t bytes) {
  check(cudaSetDevice(index_), "selecting the device");
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    size_t free = 0, all = 0;
    cudaMemGetInfo(&free, &all);
    throw OutOfMemory(fmt::format("CUDA device {} has {:.2f} of {:.2f} GiB free, and {:.2f} GiB more were asked for",
                                  index_, static_cast<double>(free) / (1 << 30), static_cast<double>(all) / (1 << 30),
                                  static_cast<double>(bytes) / (1 << 30)));
  }
  check(error, "allocating memory");
  allocated_ += bytes;
  peak_ = std::max(peak_, allocated_);
  return memory;
}

void Runtime::release(void* memory, int64_t bytes) noexcept {
  cudaSetDevice(index_);
  cudaFree(memory);
  allocated_ -= bytes;
}

void* Runtime::allocate_pinned(int64_t bytes) {
  check(cudaSetDevice(index_), "selecting the device");
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, static_cast<size_t>(std::max<int64_t>(bytes, 1)));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    throw DeviceError(
        fmt::format("the host cannot allocate {:.1f} MiB more of pinned memory for CUDA device {}; give the host, or "
                    "its container, more memory, or start fewer ranks on it",
                    static_cast<double>(bytes) / (1 << 20), index_));
  }
  check(error, "allocating pinned memory");
  return memory;
}

void Runtime::release_pinned(void* memory) noexcept {
  cudaSetDevice(index_);
  cudaDeviceSynchronize();
  cudaFreeHost(memory);
}

void Runtime::to_device(const void* host, void* device, int64_t bytes) {
  copy(host, device, bytes, stream());
  synchronize();
}

void Runtime::to_host(const void* device, void* host, int64_t bytes) {
  synchronize();  // with the watch, because a copy to memory that is not pinned blocks without it
  copy(device, host, bytes, stream());
  synchronize();
}

void Runtime::copy(const void* from, void* to, int64_t bytes, Stream stream) const {
  check(cudaSetDevice(index_), "selecting the device");
  if (bytes > 0)
    check(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyDefault, stream), "copying memory");
}

void Runtime::clear(void* memory, int64_t bytes) const {
  check(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream()), "clearing memory");
}

void* Runtime::workspace(int64_t bytes) {
  if (bytes > workspace_bytes_) {
    for (cudaStream_t stream : state_->streams) wait(mark(stream));  // with the watch; cudaFree blocks without it
    release(std::exchange(workspace_, nullptr), std::exchange(workspace_bytes_, 0));
    workspace_ = allocate(bytes);
    workspace_bytes_ = bytes;
  }
  return workspace_;
}

}  // namespace ropewalk::cuda
