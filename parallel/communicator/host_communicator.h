// Collectives of tensors in host memory, built on the point-to-point messages that a transport provides. They are
// direct: each rank sends rows straight to the ranks that need them; only broadcast goes through other ranks. In a
// group of P ranks, for a tensor `all` of n bytes, this rank sends
//
//     reduce_scatter   n - (this rank's part)
//     all_gather       (P - 1) * (this rank's part)
//     all_reduce       both, over an even cut of the elements
//     broadcast        n to each child in a binomial tree
//
// Each element is summed on one rank, in rank order: the same bits on all ranks and transports, every time.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "parallel/communicator/block_pool.h"
#include "parallel/communicator/collective.h"
#include "parallel/communicator/communicator.h"
#include "parallel/communicator/progress_engine.h"
#include "parallel/communicator/roster.h"

namespace ropewalk {

class HostCommunicator : public Communicator {
 public:
  int rank() const final { return rank_; }
  int size() const final { return size_; }
  std::string name(int rank) const final { return roster_.name(rank); }
  int64_t bytes_sent() const final { return bytes_sent_; }

  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) final;
  void all_reduce(const Tensor& x, Reduction reduction) final;
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) final;
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) final;
  void broadcast(const Tensor& x, int root) final;
  void barrier() final;
  ProgressEngine& progress_engine() final { return *progress_engine_; }
  std::unique_ptr<Communicator> split(int color, int key) final;

  // A reduction over `ranks` ranks cuts each rank's part into segments. Round k moves the k-th segment of every part.
  // At most two rounds are in flight at a time.
  struct Segments {
    int64_t elements;  // of one part in one round
    int64_t rounds;
    int64_t scratch_bytes;  // for the segments received in two rounds
  };
  // longest_part: elements of the largest part, > 0. ranks > 1.
  static Segments segments_of(int ranks, int64_t longest_part, DType dtype);

 protected:
  // progress_engine: this rank's, shared by all groups of the world; every wait of the transport polls it.
  HostCommunicator(int rank, Roster roster, std::shared_ptr<ProgressEngine> progress_engine);
  const std::shared_ptr<ProgressEngine>& shared_progress_engine() const { return progress_engine_; }

  // Implemented by the transport: starts messages to and from other ranks, never to this rank itself. All rounds of a
  // collective have the same label. A non-blocking collective posts its next round before it destroys the transfer of
  // the previous round, so it has a transfer until it is complete. A message of an earlier call that has no transfer is
  // therefore an error: that call is complete.
  virtual std::unique_ptr<Transfer> post(CallLabel label, std::span<const Message> sends,
                                         std::span<const Message> receives) = 0;
  // Implemented by the transport: makes the group of `members`, ranks of this communicator, in this order. Once all
  // ranks of this communicator have entered split(), each calls make_group() with the members of its own new group.
  virtual std::unique_ptr<Communicator> make_group(CallLabel label, const std::vector<int>& members) = 0;

 private:
  class SegmentedReduction;

  CallLabel next(Collective collective) { return {collective, ++sequence_}; }
  std::unique_ptr<Transfer> exchange(CallLabel label, std::span<const Message> sends,
                                     std::span<const Message> receives);
  std::unique_ptr<Transfer> start_reduction(CallLabel label, const Tensor& all, const Partition& cut,
                                            const Tensor& mine, Reduction reduction);
  std::unique_ptr<Transfer> start_gathering(CallLabel label, const Tensor& mine, const Partition& cut,
                                            const Tensor& all);

  int rank_, size_;
  Roster roster_;
  std::shared_ptr<ProgressEngine> progress_engine_;
  int64_t sequence_ = 0;
  int64_t bytes_sent_ = 0;
  BlockPool scratch_;
};

// For the error messages of transports.
std::string describe_send(const Roster& group, const Message& message);     // "400 bytes of f32 to rank 2 on node0"
std::string describe_receive(const Roster& group, const Message& message);  // "400 bytes of f32 from rank 2 on node0"
std::string describe(CallLabel label);                                      // "all_reduce (operation 17)"
// For messages that are still outstanding: "rank 2 on node0 has not answered rank 3 on node0 for 60.0 s: 400 bytes of
// f32 from it in all_reduce (operation 17)".
std::string describe_unresponsive(const Roster& group, int rank, CallLabel label, std::span<const Message> sends,
                                  std::span<const Message> receives, double seconds);

}  // namespace ropewalk
