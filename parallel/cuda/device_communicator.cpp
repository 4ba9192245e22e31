#include "parallel/cuda/device_communicator.h"

#include "parallel/communicator/checks.h"

namespace ROPEWALK_CUDA {

std::unique_ptr<Transfer> DeviceCommunicator::start_exchange(std::span<const Message> sends,
                                                             std::span<const Message> receives) {
  int64_t here = 0, all = 0;
  for (const auto& messages : {sends, receives})
    for (const Message& message : messages) {
      check_peer(message.peer, *this);
      here += on_device(message.data);
      ++all;
    }
  payload_.start_exchange(sends, receives);
  if (here == 0) return host_after_all().start_exchange(sends, receives);
  CHECK(here == all, "an exchange of {} messages, only {} of which are on the device", all, here);
  if (size() > 1) return exchange_on_device(sends, receives);
  CHECK(sends.size() == receives.size(), "{} messages to oneself and {} from oneself", sends.size(), receives.size());
  for (size_t i = 0; i < sends.size(); ++i) copy(sends[i].data, receives[i].data);
  return std::make_unique<FinishedTransfer>();
}

void DeviceCommunicator::all_reduce(const Tensor& x, Reduction reduction) {
  payload_.all_reduce(x, reduction);
  if (!on_device(x)) return host_after_all().all_reduce(x, reduction);
  check_reduced(x);
  CHECK(reduction == Reduction::kSum, "all_reduce of device tensors supports sums only");
  if (size() > 1) sum_on_device(x.flat());
}

std::unique_ptr<Transfer> DeviceCommunicator::reduce_scatter(Need need, const Tensor& all, const Partition& rows,
                                                             const Tensor& mine) {
  check_parts(Collective::kReduceScatter, all, rows, mine, *this);
  check_reduced(all);
  payload_.reduce_scatter(all, rows, mine);
  if (!on_device(all)) return host_after_all().start_reduce_scatter(all, rows, mine);
  if (size() > 1) return reduce_scatter_on_device(need, all.flat(), in_elements(rows, all), mine.flat());
  copy(all, mine);
  return std::make_unique<FinishedTransfer>();
}

std::unique_ptr<Transfer> DeviceCommunicator::all_gather(Need need, const Tensor& mine, const Partition& rows,
                                                         const Tensor& all) {
  check_parts(Collective::kAllGather, all, rows, mine, *this);
  payload_.all_gather(mine, rows, all);
  if (!on_device(all)) return host_after_all().start_all_gather(mine, rows, all);
  if (size() > 1) return all_gather_on_device(need, mine.flat(), in_elements(rows, all), all.flat());
  copy(mine, all);
  return std::make_unique<FinishedTransfer>();
}

void DeviceCommunicator::broadcast(const Tensor& x, int root) {
  check_root(root, *this);
  payload_.broadcast(x, root);
  if (!on_device(x)) return host_after_all().broadcast(x, root);
  if (size() > 1) broadcast_on_device(x.flat(), root);
}

void DeviceCommunicator::barrier() { host_after_all().barrier(); }

std::unique_ptr<Communicator> DeviceCommunicator::split(int color, int key) {
  return make_group(host_after_all().split(color, key));
}

void DeviceCommunicator::copy(const Tensor& from, const Tensor& to) const {
  CHECK(from.bytes() == to.bytes() && from.dtype() == to.dtype(), "{} bytes of {} as {} of {}", from.bytes(),
        name_of(from.dtype()), to.bytes(), name_of(to.dtype()));
  if (from.raw() != to.raw()) runtime_.copy(from.raw(), to.raw(), from.bytes(), runtime_.stream());
}

}  // namespace ROPEWALK_CUDA
