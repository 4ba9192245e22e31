#include "parallel/communicator/counting_communicator.h"

namespace ropewalk {

std::string CountingCommunicator::name(int rank) const { return fmt::format("rank {}", rank); }

std::unique_ptr<Transfer> CountingCommunicator::start_exchange(std::span<const Message> sends,
                                                               std::span<const Message>) {
  for (const Message& message : sends)
    if (message.peer != rank_) bytes_sent_ += message.data.bytes();
  return std::make_unique<FinishedTransfer>();
}

std::unique_ptr<Transfer> CountingCommunicator::start_reduce_scatter(const Tensor& all, const Partition&,
                                                                     const Tensor& mine) {
  bytes_sent_ += all.bytes() - mine.bytes();
  return std::make_unique<FinishedTransfer>();
}

std::unique_ptr<Transfer> CountingCommunicator::start_all_gather(const Tensor& mine, const Partition&, const Tensor&) {
  bytes_sent_ += mine.bytes() * (size_ - 1);
  return std::make_unique<FinishedTransfer>();
}

void CountingCommunicator::all_reduce(const Tensor& x, Reduction) {
  const Partition cut = Partition::even(x.elements(), size_);
  const Tensor mine = x.flat().slice(cut.begin(rank_), cut.end(rank_));
  reduce_scatter(x, cut, mine);
  all_gather(mine, cut, x);
}

// To each child in the binomial tree of HostCommunicator::broadcast.
void CountingCommunicator::broadcast(const Tensor& x, int root) {
  const int place = (rank_ - root + size_) % size_;
  int distance = 1;
  while (distance <= place) distance *= 2;
  for (; place + distance < size_; distance *= 2) bytes_sent_ += x.bytes();
}

std::unique_ptr<Communicator> CountingCommunicator::split(int, int) {
  CHECK(false, "a group of {} that only counts cannot be split", size_);
}

}  // namespace ropewalk
