// The communicator of a group of the mesh; wraps another communicator. It counts calls, bytes and seconds under the
// group's name ("tensor", "sequence", "gradient", ...); the code calls this name the axis. It registers the collectives
// that it starts with the progress engine. It adds the axis, the rank and the last calls to a CommunicationError, and
// passes the error to the failure handler.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "kernels/trace.h"
#include "parallel/communicator/collective.h"
#include "parallel/communicator/communicator.h"

namespace ropewalk {

struct CommunicationCounters {
  int64_t calls = 0;
  // Payload sent to other ranks. For tensors of a device: the bytes that HostCommunicator's algorithm would send,
  // whatever the transport does.
  int64_t bytes_sent = 0;
  // Seconds that this rank's thread spent in blocking collectives, and in starting, polling and waiting for transfers;
  // polls of other transfers meanwhile are not included. Over NCCL: the time to enqueue the calls on the device.
  double seconds = 0.0;
};

// Called with an error before stack unwinding, while the buffers of outstanding messages are valid, because MPI may
// still read and write them. May end the process; if it returns, the error is thrown.
using FailureHandler = std::function<void(const PeerError&)>;

class LoggedCommunicator : public Communicator {
 public:
  // checked: before each call all ranks compare the calls that they are about to make; if these differ, they throw an
  // error that names the ranks and calls.
  LoggedCommunicator(std::shared_ptr<Communicator> inner, std::string axis, bool checked = false,
                     FailureHandler on_failure = {});

  // Traces every call, and how long messages were in flight. Null: stops.
  void set_trace(Trace* trace) { trace_ = trace; }

  const std::string& axis() const { return axis_; }
  const CommunicationCounters& counters() const { return counters_; }

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name(int rank) const override { return inner_->name(rank); }
  int64_t bytes_sent() const override { return inner_->bytes_sent(); }
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override;
  void all_reduce(const Tensor& x, Reduction reduction) override;
  void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) override;
  void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override;
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) override;
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override;
  void broadcast(const Tensor& x, int root) override;
  void barrier() override;
  ProgressEngine& progress_engine() override { return inner_->progress_engine(); }
  std::unique_ptr<Communicator> split(int color, int key) override;  // the group is logged as "<axis>/split"
  std::unique_ptr<LoggedCommunicator> split(const std::string& axis, int color, int key);

 private:
  friend class LoggedTransfer;

  // One call, as `checked` compares it; detail: the root or the Reduction. Exchanges may differ between ranks.
  struct Call {
    Collective collective;
    DType dtype = DType::kU8;
    int32_t detail = 0;
    int64_t elements = 0;
    bool operator==(const Call&) const = default;
  };
  struct Entry {
    Call call;
    int64_t sequence;
    double seconds;
    bool finished;
  };
  static constexpr int64_t kEntries = 8;

  template <typename Action>
  void perform(const Call& call, Action action);
  int64_t begin(const Call& call);  // returns its sequence number
  template <typename Start>
  std::unique_ptr<Transfer> start(const Call& call, const char* name, Start start);
  template <typename Action>
  int64_t timed(int64_t sequence, const char* name, Action action);  // returns the bytes sent
  void agree(int64_t sequence, const Call& call);
  Entry& entry(int64_t sequence) { return entries_[static_cast<size_t>(sequence % kEntries)]; }
  std::string describe(const Call& call) const;
  // Throws the error with the axis added to its first line, and followed by the last calls.
  [[noreturn]] void fail(const CommunicationError& error) const;

  std::shared_ptr<Communicator> inner_;
  std::string axis_;
  bool checked_;
  FailureHandler on_failure_;
  CommunicationCounters counters_;
  Trace* trace_ = nullptr;
  int64_t sequence_ = 0;
  std::array<Entry, kEntries> entries_{};
};

}  // namespace ropewalk
