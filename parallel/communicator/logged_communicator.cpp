#include "parallel/communicator/logged_communicator.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "kernels/clock.h"
#include "parallel/communicator/progress_engine.h"

namespace ropewalk {
namespace {

// Empty polls under 20 us are not traced: a wait makes thousands of them.
constexpr double kNotableSeconds = 20e-6;

// An error to which fail() has added the details, and which the failure handler has seen. It may pass through a call of
// another group, if the wait of that call polled the failed transfer.
struct Explained : PeerError {
  using PeerError::PeerError;
};

}  // namespace

LoggedCommunicator::LoggedCommunicator(std::shared_ptr<Communicator> inner, std::string axis, bool checked,
                                       FailureHandler on_failure)
    : inner_(std::move(inner)), axis_(std::move(axis)), checked_(checked), on_failure_(std::move(on_failure)) {}

class LoggedTransfer : public Transfer {
 public:
  LoggedTransfer(LoggedCommunicator& log, int64_t sequence, std::unique_ptr<Transfer> inner,
                 std::optional<TraceSpan> span)
      : log_(log), sequence_(sequence), inner_(std::move(inner)), span_(std::move(span)) {}

  ~LoggedTransfer() override {
    if (waited_) return;
    try {
      wait();
    } catch (const Error&) {  // swallowed, as the interface says; a device's too
    }
  }

  bool progress() override {
    if (arrived_) return true;
    const bool done = timed("progress", [&] { return inner_->progress(); });
    if (done) arrive();
    return done;
  }

  bool needs_polling() const override { return inner_->needs_polling(); }

  void wait() override {
    waited_ = true;
    timed("wait", [&] {
      inner_->wait();
      return true;
    });
    if (!arrived_) arrive();
  }

 private:
  template <typename Action>
  bool timed(const char* name, Action action) {
    bool done = false;
    const int64_t bytes = log_.timed(sequence_, name, [&] { return done = action(); });
    if (span_) span_->bytes += bytes;
    return done;
  }

  void arrive() {
    arrived_ = true;
    if (!span_ || !log_.trace_->recording()) return;
    span_->end = steady_seconds();
    span_->on_device = inner_->device_time();
    log_.trace_->add(std::move(*span_));
  }

  LoggedCommunicator& log_;
  int64_t sequence_;
  std::unique_ptr<Transfer> inner_;
  std::optional<TraceSpan> span_;
  bool arrived_ = false;  // this rank has seen the transfer complete
  bool waited_ = false;
};

int64_t LoggedCommunicator::begin(const Call& call) {
  const int64_t sequence = ++sequence_;
  entry(sequence) = {call, sequence, 0.0, false};
  ++counters_.calls;
  if (checked_) agree(sequence, call);
  return sequence;
}

// Runs a part of a call; action() returns whether the call is finished.
template <typename Action>
int64_t LoggedCommunicator::timed(int64_t sequence, const char* name, Action action) {
  Trace::Scope scope(trace_, name, "communication", axis_);
  const ProgressEngine& engine = inner_->progress_engine();
  // Bytes sent and not counted yet; transfers that are polled meanwhile count their own bytes.
  const auto uncounted = [&] { return inner_->bytes_sent() - counters_.bytes_sent; };
  const int64_t uncounted_before = uncounted();
  const double begin = steady_seconds(), polled_before = engine.seconds();
  bool finished = false;
  try {
    finished = action();
  } catch (const Explained&) {
    throw;
  } catch (const CommunicationError& error) {
    fail(error);
  }
  const double seconds = steady_seconds() - begin - (engine.seconds() - polled_before);
  const int64_t bytes = uncounted() - uncounted_before;
  counters_.seconds += seconds;
  counters_.bytes_sent += bytes;
  scope->bytes = bytes;
  if (!finished && bytes == 0 && seconds < kNotableSeconds) scope.leave_out();
  if (Entry& entry = this->entry(sequence); entry.sequence == sequence) {  // an exchange may outlive its entry
    entry.seconds += seconds;
    entry.finished = finished;
  }
  return bytes;
}

template <typename Action>
void LoggedCommunicator::perform(const Call& call, Action action) {
  timed(begin(call), name_of(call.collective), [&] {
    action();
    return true;
  });
}

std::unique_ptr<Transfer> LoggedCommunicator::start_exchange(std::span<const Message> sends,
                                                             std::span<const Message> receives) {
  Call call{Collective::kExchange};
  for (const Message& message : sends) {
    call.dtype = message.data.dtype();
    call.elements += message.data.elements();
  }
  return start(call, "start_exchange", [&] { return inner_->start_exchange(sends, receives); });
}

std::unique_ptr<Transfer> LoggedCommunicator::start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                                   const Tensor& mine) {
  return progress_engine().track(start({Collective::kReduceScatter, all.dtype(), 0, all.elements()},
                                       "start_reduce_scatter",
                                       [&] { return inner_->start_reduce_scatter(all, rows, mine); }));
}

std::unique_ptr<Transfer> LoggedCommunicator::start_all_gather(const Tensor& mine, const Partition& rows,
                                                               const Tensor& all) {
  return progress_engine().track(start({Collective::kAllGather, all.dtype(), 0, all.elements()}, "start_all_gather",
                                       [&] { return inner_->start_all_gather(mine, rows, all); }));
}

template <typename Start>
std::unique_ptr<Transfer> LoggedCommunicator::start(const Call& call, const char* name, Start start) {
  const int64_t sequence = begin(call);
  std::unique_ptr<Transfer> transfer;
  TraceSpan span;
  span.begin = steady_seconds();
  span.bytes = timed(sequence, name, [&] {
    transfer = start();
    return false;
  });
  if (!trace_ || !trace_->recording())
    return std::make_unique<LoggedTransfer>(*this, sequence, std::move(transfer), std::nullopt);
  span.name = fmt::format("{} on {}", name_of(call.collective), axis_);
  span.kind = Trace::kInFlight;
  span.axis = axis_;
  return std::make_unique<LoggedTransfer>(*this, sequence, std::move(transfer), std::move(span));
}

void LoggedCommunicator::all_reduce(const Tensor& x, Reduction reduction) {
  perform({Collective::kAllReduce, x.dtype(), static_cast<int32_t>(reduction), x.elements()},
          [&] { inner_->all_reduce(x, reduction); });
}

void LoggedCommunicator::reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) {
  perform({Collective::kReduceScatter, all.dtype(), 0, all.elements()},
          [&] { inner_->reduce_scatter(all, rows, mine); });
}

void LoggedCommunicator::all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) {
  perform({Collective::kAllGather, all.dtype(), 0, all.elements()}, [&] { inner_->all_gather(mine, rows, all); });
}

void LoggedCommunicator::broadcast(const Tensor& x, int root) {
  perform({Collective::kBroadcast, x.dtype(), root, x.elements()}, [&] { inner_->broadcast(x, root); });
}

void LoggedCommunicator::barrier() {
  perform({Collective::kBarrier}, [&] { inner_->barrier(); });
}

std::unique_ptr<Communicator> LoggedCommunicator::split(int color, int key) {
  return split(axis_ + "/split", color, key);
}

std::unique_ptr<LoggedCommunicator> LoggedCommunicator::split(const std::string& axis, int color, int key) {
  std::unique_ptr<Communicator> group;
  perform({Collective::kSplit}, [&] { group = inner_->split(color, key); });
  return std::make_unique<LoggedCommunicator>(std::move(group), axis, checked_, on_failure_);
}

void LoggedCommunicator::agree(int64_t sequence, const Call& call) {
  // As numbers, so that no padding is compared. The messages of an exchange are not compared: they may differ.
  using Fingerprint = std::array<int64_t, 5>;
  Fingerprint own = {sequence, static_cast<int64_t>(call.collective), 0, 0, 0};
  if (call.collective != Collective::kExchange) {
    own[2] = static_cast<int64_t>(call.dtype);
    own[3] = call.detail;
    own[4] = call.elements;
  }
  std::vector<Fingerprint> all(static_cast<size_t>(size()));
  const int64_t bytes = sizeof(Fingerprint);
  try {
    inner_->all_gather(Tensor(own.data(), DType::kU8, Device{}, {1, bytes}), Partition::even(size(), size()),
                       Tensor(all.data(), DType::kU8, Device{}, {size(), bytes}));
  } catch (const CommunicationError& error) {
    fail(error);
  }
  for (int peer = 0; peer < size(); ++peer) {
    const Fingerprint& theirs = all[static_cast<size_t>(peer)];
    if (theirs == own) continue;
    const Call their_call{static_cast<Collective>(theirs[1]), static_cast<DType>(theirs[2]),
                          static_cast<int32_t>(theirs[3]), theirs[4]};
    fail(PeerError(fmt::format("{} calls #{} {} where {} calls #{} {}", name(peer), theirs[0], describe(their_call),
                               name(rank()), sequence, describe(call))));
  }
}

std::string LoggedCommunicator::describe(const Call& call) const {
  std::string text = name_of(call.collective);
  if (call.elements > 0) text += fmt::format(" of {} {}", call.elements, name_of(call.dtype));
  if (call.collective == Collective::kBroadcast) text += " from " + name(call.detail);
  if (call.collective == Collective::kAllReduce) {
    text += static_cast<Reduction>(call.detail) == Reduction::kSum ? " (sum)" : " (maximum)";
  }
  return text;
}

void LoggedCommunicator::fail(const CommunicationError& error) const {
  std::string text = error.what();
  text.insert(std::min(text.find('\n'), text.size()), " on axis " + axis_);
  text += fmt::format("\n  the last operations of {} on this axis:", name(rank()));
  for (int64_t i = std::max<int64_t>(1, sequence_ - kEntries + 1); i <= sequence_; ++i) {
    const Entry& entry = entries_[static_cast<size_t>(i % kEntries)];
    text += "\n    " + describe(entry.call);
    text += entry.finished ? fmt::format(", {:.3f} ms", 1e3 * entry.seconds) : std::string(", not finished");
  }
  const auto* peer_error = dynamic_cast<const PeerError*>(&error);
  const Explained explained(text, peer_error ? peer_error->unresponsive : UnresponsivePeers());
  if (on_failure_) on_failure_(explained);
  throw explained;
}

}  // namespace ropewalk
