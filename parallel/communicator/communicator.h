// How a rank talks to the others of a group. Every rank of the group makes the same calls in the same order; there are
// no tags. Collectives add in an order that is the same each time, so the same group gives the same bits: in rank
// order, in fp32 where bf16 is added, all but NCCL's. Tensors may be empty of rows, in host memory or of the device
// that the communicator serves (those of a call all in one of the two), of any element type; sums are of floating types
// and i32, maxima of host tensors of these.
//
// Device tensors are read and written in the order of the device's own work: an operation begins after the kernels that
// were called before it, and kernels called after it (after a transfer's wait) see what it received. The host
// need not wait for that.
//
// A call that cannot finish (a dead peer, a deadline passed, sizes that do not match) throws CommunicationError, whose
// first line names the operation and the peers. After that the communicator is not usable. (NCCL does not notice sizes
// that do not match; see parallel/cuda/nccl_communicator.h.)
#pragma once

#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/tensor.h"
#include "kernels/trace.h"
#include "parallel/partition.h"

namespace ropewalk {

class ProgressEngine;

enum class Reduction { kSum, kMax };

// For whom was waited in vain, if that was the trouble.
struct UnresponsivePeers {
  std::vector<int> ranks;  // as the world counts
  double seconds = 0.0;
};
struct PeerError : CommunicationError {
  explicit PeerError(const std::string& message, UnresponsivePeers peers = {})
      : CommunicationError(message), unresponsive(std::move(peers)) {}
  UnresponsivePeers unresponsive;
};

// One message of an exchange: all of `data` to or from rank `peer`, which may be this rank itself. Several messages
// between the same two ranks match in the order in which they are listed.
struct Message {
  int peer;
  Tensor data;
};

// What has been started and moves while the rank computes: the messages of an exchange, a collective. What it sends may
// not change, nor what it receives be read, until wait() returns.
class Transfer {
 public:
  virtual ~Transfer() = default;  // one that was not waited for is waited for; errors then are lost
  // Moves it on as far as it goes without waiting; whether it is done. A rank that computes meanwhile calls this
  // between pieces of work: some transports move bytes only while they are called, on both sides. Not needed for what
  // wait() promises. Throws CommunicationError.
  virtual bool progress() = 0;
  // Whether the rank's own work keeps messages from moving, so that it should be cut in pieces. Not where the work is a
  // device's: the host, which drives, waits while the device computes.
  virtual bool needs_polling() const { return true; }
  virtual void wait() = 0;  // throws CommunicationError
  // When a device moves it, for traces.
  virtual DeviceTime device_time() const { return {}; }
};

// Nothing is, or was ever, in flight.
class FinishedTransfer final : public Transfer {
 public:
  bool progress() override { return true; }
  void wait() override {}
};

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual std::string name(int rank) const = 0;  // of a member, for messages: "rank 3 on node7", as the world counts
  // Payload that has left this rank through this communicator so far; messages to itself do not count.
  virtual int64_t bytes_sent() const = 0;

  // Starts all messages and returns at once. Everyone's sends must be matched by receives of the same size.
  virtual std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends,
                                                   std::span<const Message> receives) = 0;

  virtual void all_reduce(const Tensor& x, Reduction reduction) = 0;  // x = reduction over ranks of x
  // mine = sum over ranks of all[rows.begin(rank), rows.end(rank)); `all` has rows.total() rows and is left as it was,
  // but for this rank's rows of it where they are `mine`.
  virtual void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine);
  // all[rows.begin(r), rows.end(r)) = rank r's `mine`, for every r; `mine` may be this rank's rows of `all`.
  virtual void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all);
  // The same, for what is needed only later: other calls go past what has been started. Any number may be in flight.
  virtual std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                         const Tensor& mine) = 0;
  virtual std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) = 0;
  virtual void broadcast(const Tensor& x, int root) = 0;  // x = root's x
  virtual void barrier() = 0;

  // What this rank drives while it waits for others, here and in all groups of the same world
  // (parallel/communicator/progress_engine.h).
  virtual ProgressEngine& progress_engine() = 0;
  // The ranks that pass the same color become a group, ordered by key, then by rank here. Called by all ranks.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
};

// Helpers for single numbers of the host, in terms of the above; the group must serve host tensors.
double sum_of(Communicator& group, double value);
double maximum_of(Communicator& group, double value);
bool any_of(Communicator& group, bool value);
// The sum over ranks of each number, in place.
void sum_each(Communicator& group, std::vector<double>& values);
std::string broadcast_text(Communicator& group, const std::string& text, int root);  // the root's, everywhere
// Everyone's, by rank, on rank 0; nothing elsewhere.
std::vector<std::string> gather_texts(Communicator& group, const std::string& mine);

}  // namespace ropewalk
