// How a rank communicates with the other ranks of a group. Every rank of the group makes the same calls in the same
// order, so a caller passes no tags. All tensors of a call are in host memory, or all are on the device that the
// communicator serves. Tensors may be empty (no rows). Any element type can be moved. Sums (kSum) need a floating type
// or i32; maxima (kMax) need the same types, in host memory.
//
// Sums of host tensors are added in rank order, bf16 in fp32, so the same group always gives the same bits. NCCL adds
// in an order of its own.
//
// Calls on device tensors are ordered with the kernels: a call starts after the kernels launched before it, and kernels
// launched after a blocking call, or after wait() of a transfer, see the data that it received. Over NCCL the host does
// not block for this.
//
// A call that cannot complete (a dead peer, a deadline passed, sizes that do not match) throws CommunicationError,
// whose first line names the call and the peers. The communicator is not usable afterwards. NCCL does not detect sizes
// that do not match (parallel/cuda/nccl_communicator.h).
#pragma once

#include <functional>
#include <memory>
#include <optional>
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

// Peers that did not respond before the deadline; none if something else went wrong.
struct UnresponsivePeers {
  std::vector<int> ranks;  // of the world
  double seconds = 0.0;    // waited
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

// An outstanding exchange or collective, which advances while the rank computes. Until wait() returns, the caller must
// not change the tensors that it sends, nor read or change those that it receives.
class Transfer {
 public:
  virtual ~Transfer() = default;  // waits if wait() was not called, and swallows errors
  // Non-blocking progress; true when complete. A rank that computes meanwhile calls progress() between pieces of work,
  // because some transports (MPI) move bytes only inside their own calls, on both sides. Calling progress() is
  // optional: wait() alone completes the transfer. Throws CommunicationError.
  virtual bool progress() = 0;
  // Whether the rank should cut its work into pieces and call progress() between them. False for tensors of a device:
  // the host is free while the device computes.
  virtual bool needs_polling() const { return true; }
  virtual void wait() = 0;  // throws CommunicationError
  // Begin and end of the transfer on the device, for traces; empty if no device moved it.
  virtual DeviceTime device_time() const { return {}; }
};

// A transfer that was complete when it was started.
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
  virtual std::string name(int rank) const = 0;  // for error messages: "rank 3 on node7" (world rank)
  // Payload that this rank has sent to other ranks through this communicator so far.
  virtual int64_t bytes_sent() const = 0;

  // Starts all messages and returns at once; the caller polls the transfer. Every send must be matched by a receive of
  // the same size and element type.
  virtual std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends,
                                                   std::span<const Message> receives) = 0;

  virtual void all_reduce(const Tensor& x, Reduction reduction) = 0;  // x = reduction over ranks of x
  // mine = the sum, over all ranks, of rows [rows.begin(rank()), rows.end(rank())) of their `all`. `all` has
  // rows.total() rows and is not changed; but `mine` may be this rank's rows of `all` (in place).
  virtual void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine);
  // all[rows.begin(r), rows.end(r)) = rank r's `mine`, for every r; `mine` may be this rank's rows of `all`.
  virtual void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all);
  // Non-blocking variants: any number may be outstanding, and later calls may overtake them. The groups of the mesh
  // (LoggedCommunicator) register these transfers with the progress engine, so the caller need not poll them.
  virtual std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                         const Tensor& mine) = 0;
  virtual std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) = 0;
  virtual void broadcast(const Tensor& x, int root) = 0;  // x = root's x
  virtual void barrier() = 0;

  // This rank's engine, one for all groups of the world (parallel/communicator/progress_engine.h).
  virtual ProgressEngine& progress_engine() = 0;
  // The ranks that pass the same color become a group, ordered by key, then by rank in this group. Collective.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
};

// Collectives of single numbers and texts.
double sum_of(Communicator& group, double value);
double maximum_of(Communicator& group, double value);
bool any_of(Communicator& group, bool value);
// The sum over ranks of each number, in place.
void sum_each(Communicator& group, std::vector<double>& values);
std::string broadcast_text(Communicator& group, const std::string& text, int root);  // returns the root's text
// On rank 0 the texts of all ranks, by rank; on other ranks an empty vector.
std::vector<std::string> gather_texts(Communicator& group, const std::string& mine);

struct RankText {
  int rank;
  std::string text;
};
// The lowest rank that has a text, and its text; nullopt if no rank has one.
std::optional<RankText> first_text(Communicator& group, const std::optional<std::string>& mine);
// Runs the action, which must not communicate, on every rank. Returns the same on all ranks: nullopt if no action
// threw, else the message of the lowest rank whose action did ("rank 2: ..." in a group of more than one rank).
std::optional<std::string> first_failure(Communicator& group, const std::function<void()>& action);

}  // namespace ropewalk
