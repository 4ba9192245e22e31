// The backend without its operations, which have their own files.
#include "kernels/cuda/cuda_backend.h"

namespace ROPEWALK_CUDA {
namespace {

class DeviceBuffer final : public Buffer {
 public:
  DeviceBuffer(Runtime& runtime, int64_t bytes) : Buffer(runtime.allocate(bytes), bytes), runtime_(runtime) {}
  ~DeviceBuffer() override { runtime_.release(data_, bytes_); }

 private:
  Runtime& runtime_;
};

}  // namespace

CudaBackend::CudaBackend(const BackendOptions& options)
    : deterministic_(options.deterministic),
      attention_(options.attention),
      runtime_(options.local_rank),
      products_(runtime_) {
  if (attention_ == AttentionForm::kAutomatic) {
    attention_ = runtime_.has_hopper() ? AttentionForm::kHopper : AttentionForm::kPortable;
    could_be_faster_ = runtime_.lacks_hopper();
  } else if (attention_ == AttentionForm::kHopper) {
    runtime_.check_hopper();
  }
  if (attention_ != AttentionForm::kHopper) return;
  const unsigned none = 0;
  taken_ = allocate(sizeof(none));
  runtime_.to_device(&none, taken_->data(), sizeof(none));
}
CudaBackend::~CudaBackend() = default;

std::optional<DeviceStatus> CudaBackend::device_status() const {
  DeviceStatus status = runtime_.status();
  status.attention = name_of(attention_);
  status.could_be_faster = could_be_faster_;
  return status;
}

std::unique_ptr<Buffer> CudaBackend::allocate(int64_t bytes) { return std::make_unique<DeviceBuffer>(runtime_, bytes); }
void CudaBackend::upload(const void* host, const Tensor& x) { runtime_.to_device(host, x.raw(), x.bytes()); }
void CudaBackend::download(const Tensor& x, void* host) { runtime_.to_host(x.raw(), host, x.bytes()); }

}  // namespace ROPEWALK_CUDA
