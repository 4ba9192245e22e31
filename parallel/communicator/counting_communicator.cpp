#include "parallel/communicator/counting_communicator.h"

#include <algorithm>

#include "parallel/communicator/host_communicator.h"

namespace ropewalk {
namespace {

int64_t row_elements(const Tensor& all, const Partition& rows) {
  return rows.total() > 0 ? all.elements() / rows.total() : 0;
}

}  // namespace

std::string CountingCommunicator::name(int rank) const { return fmt::format("rank {}", rank); }

int64_t CountingCommunicator::sent_in_collectives(int rank) const {
  return everyone_ + (additional_.empty() ? 0 : additional_[static_cast<size_t>(rank)]);
}

void CountingCommunicator::add(int rank, int64_t bytes) {
  if (additional_.empty()) additional_.resize(static_cast<size_t>(size_));
  additional_[static_cast<size_t>(rank)] += bytes;
}

std::unique_ptr<Transfer> CountingCommunicator::start_exchange(std::span<const Message> sends,
                                                               std::span<const Message>) {
  for (const Message& message : sends)
    if (message.peer != rank_) exchanged_ += message.data.bytes();
  return std::make_unique<FinishedTransfer>();
}

// A rank sends every part but its own.
void CountingCommunicator::count_reduce_scatter(const Partition& rows, int64_t row_elements, DType dtype) {
  const int64_t row_bytes = row_elements * size_of(dtype);
  int64_t longest = rows.size(0);
  everyone_ += rows.total() * row_bytes;
  if (rows.is_equal()) {
    everyone_ -= rows.size(0) * row_bytes;
  } else {
    for (int rank = 0; rank < size_; ++rank) {
      longest = std::max(longest, rows.size(rank));
      add(rank, -rows.size(rank) * row_bytes);
    }
  }
  if (size_ > 1 && longest * row_elements > 0)
    scratch_bytes_ =
        std::max(scratch_bytes_, HostCommunicator::segments_of(size_, longest * row_elements, dtype).scratch_bytes);
}

// A rank sends its part to every other.
void CountingCommunicator::count_all_gather(const Partition& rows, int64_t row_bytes) {
  if (rows.is_equal()) {
    everyone_ += rows.size(0) * row_bytes * (size_ - 1);
  } else {
    for (int rank = 0; rank < size_; ++rank) add(rank, rows.size(rank) * row_bytes * (size_ - 1));
  }
}

std::unique_ptr<Transfer> CountingCommunicator::start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                                     const Tensor&) {
  count_reduce_scatter(rows, row_elements(all, rows), all.dtype());
  return std::make_unique<FinishedTransfer>();
}

std::unique_ptr<Transfer> CountingCommunicator::start_all_gather(const Tensor&, const Partition& rows,
                                                                 const Tensor& all) {
  count_all_gather(rows, row_elements(all, rows) * size_of(all.dtype()));
  return std::make_unique<FinishedTransfer>();
}

void CountingCommunicator::all_reduce(const Tensor& x, Reduction) {
  const Partition cut = Partition::even(x.elements(), size_);
  count_reduce_scatter(cut, 1, x.dtype());
  count_all_gather(cut, size_of(x.dtype()));
}

// To each child in the binomial tree of HostCommunicator::broadcast.
void CountingCommunicator::broadcast(const Tensor& x, int root) {
  for (int place = 0; place < size_; ++place) {
    int distance = 1;
    while (distance <= place) distance *= 2;
    for (; place + distance < size_; distance *= 2) add((root + place) % size_, x.bytes());
  }
}

std::unique_ptr<Communicator> CountingCommunicator::split(int, int) {
  CHECK(false, "a group of {} that only counts cannot be split", size_);
}

}  // namespace ropewalk
