#include "kernels/kernels.h"

#include "kernels/operations/call.h"

namespace ropewalk {

namespace {

// Of calls that compute nothing on the device.
Work no_work() { return {}; }

}  // namespace

Kernels::Kernels(std::unique_ptr<Backend> backend) : backend_(std::move(backend)) {
  CHECK(backend_, "kernels without a backend");
}
Kernels::~Kernels() = default;

Arithmetic Backend::arithmetic() const { return {precision_of(dtype()), ""}; }

Device Kernels::device() const { return backend_->device(); }
DType Kernels::dtype() const { return backend_->dtype(); }
const char* Kernels::name() const { return backend_->name(); }
Arithmetic Kernels::arithmetic() const { return backend_->arithmetic(); }
bool Kernels::deterministic() const { return backend_->deterministic(); }
std::optional<DeviceStatus> Kernels::device_status() const { return backend_->device_status(); }
std::optional<int64_t> Kernels::peak_device_bytes() const { return backend_->peak_device_bytes(); }
RangeMarker* Kernels::range_marker() { return backend_->range_marker(); }
DeviceTimeline* Kernels::device_timeline() { return backend_->device_timeline(); }

std::unique_ptr<Buffer> Kernels::allocate(int64_t bytes) { return backend_->allocate(bytes); }

void Kernels::upload(const void* host, const Tensor& x) {
  call(__func__, no_work, [&] { backend_->upload(host, x); });
}

void Kernels::download(const Tensor& x, void* host) {
  call(__func__, no_work, [&] { backend_->download(x, host); });
}

void Kernels::synchronize() {
  call(__func__, no_work, [&] { backend_->synchronize(); });
}

}  // namespace ropewalk
