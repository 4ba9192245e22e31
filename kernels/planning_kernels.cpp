#include "kernels/planning_kernels.h"

#include <sys/mman.h>

#include <cstring>

#include "kernels/flops.h"

namespace ropewalk {
namespace {

class AddressRange final : public Buffer {
 public:
  AddressRange(void* data, int64_t bytes) : Buffer(data, bytes) {}
  ~AddressRange() override { munmap(data_, static_cast<size_t>(bytes_)); }
  AddressRange(const AddressRange&) = delete;
  AddressRange& operator=(const AddressRange&) = delete;
};

// Documents are uploaded to nowhere; all of a plan's sequences are one document.
AttentionSpan one_document(const AttentionSpan& span) { return {span.q_begin, span.k_begin, span.window, Tensor()}; }

}  // namespace

void PlanningKernels::Flops::add(const Flops& other, double times) {
  products += times * other.products;
  full_attention += times * other.full_attention;
  sliding_attention += times * other.sliding_attention;
}

std::unique_ptr<Buffer> PlanningKernels::allocate(int64_t bytes) {
  const int64_t size = std::max<int64_t>(bytes, 1);
  void* data = mmap(nullptr, static_cast<size_t>(size), PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED)
    throw DeviceError(fmt::format("a plan with a tensor of {} bytes is beyond the addresses of this machine", bytes));
  return std::make_unique<AddressRange>(data, size);
}

void PlanningKernels::download(const Tensor& x, void* host) {
  if (x.bytes() > 0) std::memset(host, 0, static_cast<size_t>(x.bytes()));
}

void PlanningKernels::linear_forward(const Tensor& x, const Tensor& w, const Tensor&, Write) {
  flops_.products += product_flops(x, w.rows());
}

void PlanningKernels::linear_backward_input(const Tensor& dy, const Tensor& w, const Tensor&, Write) {
  flops_.products += product_flops(dy, w.extent(1));
}

void PlanningKernels::linear_backward_weight(const Tensor& dy, const Tensor& x, const Tensor&) {
  flops_.products += product_flops(dy, x.extent(1));
}

void PlanningKernels::attention_forward(const Tensor& q, const Tensor& k, const Tensor&, const AttentionSpan& span,
                                        const Tensor&, const Tensor&) {
  count_attention(attention_forward_flops(q, k, one_document(span)), span);
}

void PlanningKernels::attention_backward(const Tensor& q, const Tensor& k, const Tensor&, const Tensor&, const Tensor&,
                                         const Tensor&, const AttentionSpan& span, const Tensor&, const Tensor&,
                                         const Tensor&) {
  count_attention(attention_backward_flops(q, k, one_document(span)), span);
}

void PlanningKernels::count_attention(double flops, const AttentionSpan& span) {
  (span.window ? flops_.sliding_attention : flops_.full_attention) += flops;
}

}  // namespace ropewalk
