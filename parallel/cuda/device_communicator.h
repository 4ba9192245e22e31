// The common part of communicators for device tensors. Calls with tensors in host memory go to a host communicator,
// which also provides rank, size and rank names. Checks and the count of payload bytes are the same for both kinds of
// tensors.
#pragma once

#include <memory>
#include <string>

#include "kernels/cuda/runtime.h"
#include "parallel/communicator/communicator.h"
#include "parallel/communicator/counting_communicator.h"

namespace ROPEWALK_CUDA {

// When the result of a call is needed. A transport may let kNow calls overtake earlier kLater calls of other groups.
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

  // Implement the calls above for device tensors. Arguments are checked, the group has more than one rank, and `cut`
  // partitions elements, not rows. Results are visible to kernels that are called after the transfer's wait() or,
  // without a transfer, after the function returns.
  virtual std::unique_ptr<Transfer> exchange_on_device(std::span<const Message> sends,
                                                       std::span<const Message> receives) = 0;
  virtual void sum_on_device(const Tensor& x) = 0;
  virtual std::unique_ptr<Transfer> reduce_scatter_on_device(Need need, const Tensor& all, const Partition& cut,
                                                             const Tensor& mine) = 0;
  virtual std::unique_ptr<Transfer> all_gather_on_device(Need need, const Tensor& mine, const Partition& cut,
                                                         const Tensor& all) = 0;
  virtual void broadcast_on_device(const Tensor& x, int root) = 0;
  // Makes the communicator of a subgroup from its host communicator. Collective over all ranks of this communicator.
  virtual std::unique_ptr<Communicator> make_group(std::shared_ptr<Communicator> group) = 0;
  virtual void prepare_host_call() {}  // called before each call of the host communicator

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
  void copy(const Tensor& from, const Tensor& to) const;  // enqueued in the kernels' stream

  std::shared_ptr<Communicator> host_;
  Runtime& runtime_;
  CountingCommunicator payload_;  // counts the bytes of host and device tensors
};

}  // namespace ROPEWALK_CUDA
