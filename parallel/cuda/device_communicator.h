// The common part of communicators for device tensors. A host communicator serves tensors in host memory and knows the
// ranks; tensors of either kind are checked, and their payload is counted, in the same way.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/runtime.h"
#include "parallel/communicator/communicator.h"
#include "parallel/communicator/counting_communicator.h"

namespace ROPEWALK_CUDA {

// When the result is needed: transports that can tell them apart let a call for now overtake calls for later.
enum class Need { kNow, kLater };

class DeviceCommunicator : public Communicator {
 public:
  int rank() const final { return host_->rank(); }
  int size() const final { return host_->size(); }
  std::string name(int rank) const final { return host_->name(rank); }
  int64_t bytes_sent() const final { return payload_.bytes_sent(); }

  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) final;
  void all_reduce(const Tensor& x, Reduction reduction) final;
  void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) final {
    reduce_scatter(Need::kNow, all, rows, mine)->wait();
  }
  void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) final {
    all_gather(Need::kNow, mine, rows, all)->wait();
  }
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) final {
    return reduce_scatter(Need::kLater, all, rows, mine);
  }
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) final {
    return all_gather(Need::kLater, mine, rows, all);
  }
  void broadcast(const Tensor& x, int root) final;
  void barrier() final;
  ProgressEngine& progress_engine() final { return host_->progress_engine(); }
  std::unique_ptr<Communicator> split(int color, int key) final;

 protected:
  DeviceCommunicator(std::shared_ptr<Communicator> host, Runtime& runtime)
      : host_(std::move(host)), runtime_(runtime), payload_(host_->rank(), host_->size()) {}

  // The calls above for tensors on the device, checked, in groups of more than one rank; cuts are of elements. Kernels
  // called afterwards, or after the transfer's wait, see the results.
  virtual std::unique_ptr<Transfer> exchange_on_device(std::span<const Message> sends,
                                                       std::span<const Message> receives) = 0;
  virtual void sum_on_device(const Tensor& x) = 0;
  virtual std::unique_ptr<Transfer> reduce_scatter_on_device(Need need, const Tensor& all, const Partition& cut,
                                                             const Tensor& mine) = 0;
  virtual std::unique_ptr<Transfer> all_gather_on_device(Need need, const Tensor& mine, const Partition& cut,
                                                         const Tensor& all) = 0;
  virtual void broadcast_on_device(const Tensor& x, int root) = 0;
  // A group of some of the ranks here, over its host communicator; called by all ranks.
  virtual std::unique_ptr<Communicator> make_group(std::shared_ptr<Communicator> group) = 0;
  virtual void prepare_host_call() {}  // before any call of the host communicator

  Communicator& host() const { return *host_; }
  Runtime& runtime() const { return runtime_; }

 private:
  std::unique_ptr<Transfer> reduce_scatter(Need need, const Tensor& all, const Partition& rows, const Tensor& mine);
  std::unique_ptr<Transfer> all_gather(Need need, const Tensor& mine, const Partition& rows, const Tensor& all);
  bool on_device(const Tensor& x) const { return x.device() == runtime_.device(); }
  Communicator& host_after_all() {
    prepare_host_call();
    return *host_;
  }
  void copy(const Tensor& from, const Tensor& to) const;  // by the device, between kernels

  std::shared_ptr<Communicator> host_;
  Runtime& runtime_;
  CountingCommunicator payload_;  // counts bytes of either memory
};

}  // namespace ROPEWALK_CUDA
