// For estimates, in which one rank runs alone: acts as a communicator of `size` ranks, sends nothing, and counts the
// bytes that HostCommunicator would send.
#pragma once

#include <vector>

#include "parallel/communicator/communicator.h"
#include "parallel/communicator/progress_engine.h"

namespace ropewalk {

class CountingCommunicator final : public Communicator {
 public:
  CountingCommunicator(int rank, int size) : rank_(rank), size_(size) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string name(int rank) const override;  // "rank N", N: the rank in this group
  int64_t bytes_sent() const override { return exchanged_ + sent_in_collectives(rank_); }
  // Bytes that rank `rank` of the group has sent in collectives; known because all ranks make the same calls. Exchanges
  // are not included, because only this rank's messages are known.
  int64_t sent_in_collectives(int rank) const;
  // Scratch memory of the largest reduction, in bytes.
  int64_t scratch_bytes() const { return scratch_bytes_; }

  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override;
  void all_reduce(const Tensor& x, Reduction reduction) override;
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) override;
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override;
  void broadcast(const Tensor& x, int root) override;
  void barrier() override {}
  ProgressEngine& progress_engine() override { return progress_engine_; }
  // Fails CHECK: the colors of the other ranks are unknown.
  std::unique_ptr<Communicator> split(int color, int key) override;

 private:
  void count_reduce_scatter(const Partition& rows, int64_t row_elements, DType dtype);
  void count_all_gather(const Partition& rows, int64_t row_bytes);
  void add(int rank, int64_t bytes);

  int rank_, size_;
  int64_t exchanged_ = 0;
  // Bytes sent in collectives: rank r has sent everyone_ + additional_[r]. An entry may be negative, because a
  // reduce-scatter adds all rows to everyone_ and subtracts each rank's own rows here. Empty: all are 0.
  int64_t everyone_ = 0;
  std::vector<int64_t> additional_;
  int64_t scratch_bytes_ = 0;
  ProgressEngine progress_engine_;
};

}  // namespace ropewalk
