#include "parallel/cuda/nccl_communicator.h"

#include <sched.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <utility>

#include "kernels/error.h"
#include "parallel/communicator/collective.h"
#include "parallel/communicator/watched_time.h"
#include "parallel/cuda/nccl_platform.h"

namespace ROPEWALK_CUDA {
namespace {

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::kF64:
      return ncclFloat64;
    case DType::kF32:
      return ncclFloat32;
    case DType::kBF16:
      return ncclBfloat16;
    case DType::kI32:
      return ncclInt32;
    case DType::kU8:
      return ncclUint8;
    case DType::kF16:  // in files only
      break;
  }
  CHECK(false, "element type {}", static_cast<int>(dtype));
}

size_t count_of(const Tensor& x) { return static_cast<size_t>(x.elements()); }

// Whether all parts have the same size, as NCCL's own collectives require.
bool even(const Partition& cut) {
  for (int part = 1; part < cut.parts(); ++part)
    if (cut.size(part) != cut.size(0)) return false;
  return true;
}

Tensor part_of(const Tensor& all, const Partition& cut, int part) { return all.slice(cut.begin(part), cut.end(part)); }

// A call enqueued on the device: the events before and after it.
struct Given {
  Event begun, done;
};

// A call that is enqueued and not known to be complete.
struct Pending {
  ncclComm_t comm;
  std::string what;        // "all_reduce of 4096 bytes of f32"
  std::vector<int> peers;  // as ranks of the world
  Given given;
  std::optional<double> since = {};  // when it was first seen to have begun; empty: not yet
};

// A stream and its outstanding calls, the oldest first.
struct Lane {
  Stream stream;
  std::deque<Pending> pending = {};
};

// Shared by the groups of a rank: two lanes, for Need::kNow and kLater, and the watch over all outstanding calls.
class NcclRank {
 public:
  NcclRank(Runtime& runtime, WorldOptions options, std::string name)
      : runtime_(runtime),
        options_(std::move(options)),
        name_(std::move(name)),
        watched_(options_.deadline),
        lanes_{Lane{runtime.make_stream()}, Lane{runtime.make_stream()}} {
    runtime.set_watch([this] { look(); });
  }
  ~NcclRank() { runtime_.set_watch({}); }
  NcclRank(const NcclRank&) = delete;
  NcclRank& operator=(const NcclRank&) = delete;

  Runtime& runtime() const { return runtime_; }

  void remove(ncclComm_t comm);
  // Waits until this rank has no outstanding calls, as NCCL requires before a group is split.
  void settle() {
    look();
    for (const Lane& lane : lanes_) runtime_.wait(runtime_.mark(lane.stream));
  }

  // Enqueues the NCCL calls that calls(stream, check) makes, after the kernels called so far and the group's earlier
  // calls.
  template <typename Calls>
  Given give(Need need, ncclComm_t comm, std::string what, const std::vector<int>& peers, Calls calls);
  // Waits until a call of NCCL is complete. A call may continue after it returns, whatever it returns, because the
  // first messages between two devices wait for the peers. Also adds the group to those that look() checks.
  void finish(ncclResult_t result, ncclComm_t comm, const std::string& what, const std::vector<int>& peers);
  void look();

 private:
  void look_at(Lane& lane);
  std::string at_work() const;  // the oldest outstanding calls, for messages
  // Whether a wait that began at `since` has to end.
  bool is_over(double since) const { return watched_.is_over(since) || (options_.give_up && options_.give_up()); }
  void abort_all();
  [[noreturn]] void fail(const std::string& reason, UnresponsivePeers unresponsive = {});
  [[noreturn]] void fail_with(ncclResult_t result, ncclComm_t comm, const std::string& what);

  Runtime& runtime_;
  WorldOptions options_;
  std::string name_;     // of this rank
  WatchedTime watched_;  // since construction
  std::array<Lane, 2> lanes_;
  std::map<ncclComm_t, Event> comms_;  // each NCCL group of this rank, and the end of its last call
  std::string failure_;                // of the first call that failed; then all further calls throw
};

std::string words_of(ncclResult_t result, ncclComm_t comm) {
  const char* details = ncclGetLastError(comm);
  return fmt::format("{}{}{}", ncclGetErrorString(result), details && *details ? ": " : "", details ? details : "");
}

// NCCL has no error code for it, only a text: CUDA's for the failed call, or that of NCCL's allocator ("Failed to CUDA
// calloc 4194304 bytes").
bool is_out_of_memory(ncclResult_t result, const std::string& words) {
  const auto say = [&](const char* text) { return words.find(text) != std::string::npos; };
  return result == ncclUnhandledCudaError && (say("out of memory") || say("Failed to CUDA"));
}

// Aborts all groups in one group call (ncclGroupStart), those with the oldest outstanding calls first: the abort of a
// group waits for its work, which may be queued in a stream behind another group's.
void NcclRank::abort_all() {
  if (failure_.empty()) failure_ = fmt::format("{} has left its groups", name_);
  std::map<ncclComm_t, Event> comms = std::exchange(comms_, {});
  ncclGroupStart();
  for (Lane& lane : lanes_) {
    if (!lane.pending.empty() && comms.erase(lane.pending.front().comm)) ncclCommAbort(lane.pending.front().comm);
    lane.pending.clear();
  }
  for (const auto& [comm, done] : comms) ncclCommAbort(comm);
  ncclGroupEnd();
}

// Frees the device first, which may be waiting for peers that will never come.
void NcclRank::fail(const std::string& reason, UnresponsivePeers unresponsive) {
  failure_ = reason;
  abort_all();
  const PeerError error(reason, std::move(unresponsive));
  if (options_.on_failure && std::uncaught_exceptions() == 0) options_.on_failure(error);
  throw error;
}

void NcclRank::fail_with(ncclResult_t result, ncclComm_t comm, const std::string& what) {
  const std::string words = words_of(result, comm), reason = fmt::format("{} in {}: NCCL: {}", name_, what, words);
  if (!is_out_of_memory(result, words)) fail(reason);
  try {
    // NCCL's allocator reports the same after a failure of a kernel, because then every call of CUDA fails.
    runtime_.status();
  } catch (const DeviceError& error) {
    fail(fmt::format("{}: {}", reason, error.what()));
  }
  failure_ = reason;
  abort_all();
  throw OutOfMemory(reason + " (NCCL allocates its buffers outside of the memory that is reserved for tensors)");
}

void NcclRank::finish(ncclResult_t result, ncclComm_t comm, const std::string& what, const std::vector<int>& peers) {
  watched_.look();
  const double begin = watched_.seconds();
  if (comm) comms_.try_emplace(comm);  // so that a failure aborts it
  while (comm && (result == ncclSuccess || result == ncclInProgress)) {
    if (const ncclResult_t asked = ncclCommGetAsyncError(comm, &result); asked != ncclSuccess) result = asked;
    if (result == ncclSuccess) return;
    watched_.look();
    if (result == ncclInProgress && is_over(begin)) {
      const double seconds = watched_.seconds() - begin;
      fail(fmt::format("{} has not finished {} after {:.1f} s", name_, what, seconds), {peers, seconds});
    }
    sched_yield();
  }
  if (result != ncclSuccess) fail_with(result, comm, what);
}

void NcclRank::look() {
  watched_.look();
  if (options_.give_up) options_.give_up();  // polls MPI, through which other ranks may report a failure
  if (!failure_.empty()) throw CommunicationError("NCCL has failed before: " + failure_);
  for (const auto& [comm, done] : comms_) {
    ncclResult_t state = ncclSuccess;
    if (const ncclResult_t asked = ncclCommGetAsyncError(comm, &state); asked != ncclSuccess) state = asked;
    if (state != ncclSuccess && state != ncclInProgress) fail_with(state, comm, at_work());
  }
  for (Lane& lane : lanes_) look_at(lane);
}

std::string NcclRank::at_work() const {
  std::string text;
  for (const Lane& lane : lanes_)
    if (!lane.pending.empty()) text += (text.empty() ? "" : " and ") + lane.pending.front().what;
  return text.empty() ? "no operation" : text;
}

void NcclRank::look_at(Lane& lane) {
  std::deque<Pending>& pending = lane.pending;
  while (!pending.empty() && pending.front().given.done.passed()) pending.pop_front();
  if (pending.empty() || !pending.front().given.begun.passed()) return;
  Pending& first = pending.front();
  if (!first.since) first.since = watched_.seconds();
  if (!is_over(*first.since)) return;
  const double seconds = watched_.seconds() - *first.since;
  fail(fmt::format("{} has not finished {} after {:.1f} s", name_, first.what, seconds), {first.peers, seconds});
}

template <typename Calls>
Given NcclRank::give(Need need, ncclComm_t comm, std::string what, const std::vector<int>& peers, Calls calls) {
  look();
  Lane& lane = lanes_[need == Need::kNow ? 0 : 1];
  runtime_.follow(lane.stream, runtime_.mark(runtime_.stream()));
  runtime_.follow(lane.stream, comms_[comm]);  // the group's last call may be in the other lane
  const Event begun = runtime_.mark(lane.stream);
  ncclResult_t refused = ncclGroupStart();
  calls(lane.stream, [&](ncclResult_t result) {
    if (result != ncclSuccess && result != ncclInProgress) refused = result;
  });
  const ncclResult_t given = ncclGroupEnd();
  finish(refused == ncclSuccess ? given : refused, comm, what, peers);
  const Event done = runtime_.mark(lane.stream);
  comms_[comm] = done;
  lane.pending.push_back({comm, std::move(what), peers, {begun, done}});
  return {begun, done};
}

// Destroys a group. Called by all of its ranks when they no longer need it.
void NcclRank::remove(ncclComm_t comm) {
  if (!comms_.contains(comm)) return;  // aborted
  try {
    if (std::uncaught_exceptions() > 0) return abort_all();
    settle();
    finish(ncclCommFinalize(comm), comm, "leaving a group", {});
    comms_.erase(comm);
    ncclCommDestroy(comm);
  } catch (...) {  // a failure was reported already, or there is nobody to report it to
    abort_all();
  }
}

class NcclTransfer final : public Transfer {
 public:
  NcclTransfer(std::shared_ptr<NcclRank> rank, Given given) : rank_(std::move(rank)), given_(std::move(given)) {}
  ~NcclTransfer() override {
    try {
      if (!waited_) wait();
    } catch (const Error&) {  // swallowed, as the interface says
    }
  }
  bool needs_polling() const override { return false; }
  bool progress() override {
    rank_->look();
    return given_.done.passed();
  }
  void wait() override {
    waited_ = true;
    rank_->look();
    rank_->runtime().follow(rank_->runtime().stream(), given_.done);
  }
  DeviceTime device_time() const override {
    return {rank_->runtime().moment_of(given_.begun), rank_->runtime().moment_of(given_.done)};
  }

 private:
  std::shared_ptr<NcclRank> rank_;
  Given given_;
  bool waited_ = false;
};

class NcclCommunicator final : public DeviceCommunicator {
 public:
  // comm: null in a group of one rank. world_ranks: the members' ranks in the world.
  NcclCommunicator(std::shared_ptr<Communicator> host_group, std::shared_ptr<NcclRank> shared, ncclComm_t comm,
                   std::vector<int32_t> world_ranks)
      : DeviceCommunicator(std::move(host_group), shared->runtime()),
        nccl_(std::move(shared)),
        comm_(comm),
        world_ranks_(std::move(world_ranks)) {
    for (int peer = 0; peer < size(); ++peer)
      if (peer != rank()) others_.push_back(world_ranks_[static_cast<size_t>(peer)]);
  }
  ~NcclCommunicator() override {
    if (comm_) nccl_->remove(comm_);
  }

 protected:
  std::unique_ptr<Transfer> exchange_on_device(std::span<const Message> sends,
                                               std::span<const Message> receives) override;

  void sum_on_device(const Tensor& x) override {
    start(Need::kNow, Collective::kAllReduce, x, [&](Stream stream, auto check) {
      check(ncclAllReduce(x.raw(), x.raw(), count_of(x), type_of(x.dtype()), ncclSum, comm_, stream));
    })->wait();
  }

  std::unique_ptr<Transfer> reduce_scatter_on_device(Need need, const Tensor& all, const Partition& cut,
                                                     const Tensor& mine) override;
  std::unique_ptr<Transfer> all_gather_on_device(Need need, const Tensor& mine, const Partition& cut,
                                                 const Tensor& all) override;

  void broadcast_on_device(const Tensor& x, int root) override {
    start(Need::kNow, Collective::kBroadcast, x, [&](Stream stream, auto check) {
      check(ncclBroadcast(x.raw(), x.raw(), count_of(x), type_of(x.dtype()), root, comm_, stream));
    })->wait();
  }

  std::unique_ptr<Communicator> make_group(std::shared_ptr<Communicator> group) override {
    std::vector<int32_t> members(static_cast<size_t>(group->size()));
    members[static_cast<size_t>(group->rank())] = world_ranks_[static_cast<size_t>(rank())];
    const Tensor all(members.data(), DType::kI32, Device{}, {group->size()});
    group->all_gather(all.slice(group->rank(), group->rank() + 1), Partition::even(group->size(), group->size()), all);

    ncclComm_t comm = nullptr;
    if (comm_) {
      ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
      config.blocking = 0;
      const int color = group->size() > 1 ? members.front() : NCCL_SPLIT_NOCOLOR;
      nccl_->settle();
      // `comm` is set when the call is complete; then the new group may still be busy.
      nccl_->finish(ncclCommSplit(comm_, color, group->rank(), &comm, &config), comm_, "making a group", others_);
      CHECK((comm != nullptr) == (group->size() > 1), "NCCL has made no group of {}", group->size());
      if (comm) nccl_->finish(ncclInProgress, comm, "making a group", others_);
    }
    return std::make_unique<NcclCommunicator>(std::move(group), nccl_, comm, std::move(members));
  }

 private:
  template <typename Calls>
  std::unique_ptr<Transfer> start(Need need, Collective collective, const Tensor& x, Calls calls) {
    if (x.elements() == 0) return std::make_unique<FinishedTransfer>();
    Given given = nccl_->give(need, comm_,
                              fmt::format("{} of {} bytes of {}", name_of(collective), x.bytes(), name_of(x.dtype())),
                              others_, calls);
    return std::make_unique<NcclTransfer>(nccl_, std::move(given));
  }

  std::shared_ptr<NcclRank> nccl_;
  ncclComm_t comm_;
  std::vector<int32_t> world_ranks_;
  std::vector<int> others_;  // world_ranks_ without this rank
};

std::unique_ptr<Transfer> NcclCommunicator::reduce_scatter_on_device(Need need, const Tensor& all, const Partition& cut,
                                                                     const Tensor& mine) {
  const ncclDataType_t type = type_of(all.dtype());
  return start(need, Collective::kReduceScatter, all, [&](Stream stream, auto check) {
    if (even(cut)) return check(ncclReduceScatter(all.raw(), mine.raw(), count_of(mine), type, ncclSum, comm_, stream));
    for (int part = 0; part < size(); ++part) {
      const Tensor theirs = part_of(all, cut, part);
      if (theirs.elements() > 0)
        check(ncclReduce(theirs.raw(), part == rank() ? mine.raw() : nullptr, count_of(theirs), type, ncclSum, part,
                         comm_, stream));
    }
  });
}

std::unique_ptr<Transfer> NcclCommunicator::all_gather_on_device(Need need, const Tensor& mine, const Partition& cut,
                                                                 const Tensor& all) {
  const ncclDataType_t type = type_of(all.dtype());
  return start(need, Collective::kAllGather, all, [&](Stream stream, auto check) {
    if (even(cut)) return check(ncclAllGather(mine.raw(), all.raw(), count_of(mine), type, comm_, stream));
    for (int part = 0; part < size(); ++part) {
      const Tensor theirs = part_of(all, cut, part);
      if (theirs.elements() > 0)
        check(ncclBroadcast(part == rank() ? mine.raw() : theirs.raw(), theirs.raw(), count_of(theirs), type, part,
                            comm_, stream));
    }
  });
}

std::unique_ptr<Transfer> NcclCommunicator::exchange_on_device(std::span<const Message> sends,
                                                               std::span<const Message> receives) {
  // Ranks without messages cannot know in which memory the others' tensors are, and call the host's exchange. Ranks
  // with messages call it too, so that sequence numbers stay the same on all ranks.
  host().start_exchange({}, {})->wait();
  int64_t bytes = 0;
  std::set<int> peers;
  for (const auto& messages : {sends, receives})
    for (const Message& message : messages) {
      bytes += message.data.bytes();
      peers.insert(world_ranks_[static_cast<size_t>(message.peer)]);
    }
  const Given given = nccl_->give(
      Need::kNow, comm_,
      fmt::format("an exchange of {} bytes with {} rank{}", bytes, peers.size(), peers.size() == 1 ? "" : "s"),
      {peers.begin(), peers.end()}, [&](Stream stream, auto check) {
        for (const auto& [peer, x] : sends)
          if (x.elements() > 0) check(ncclSend(x.raw(), count_of(x), type_of(x.dtype()), peer, comm_, stream));
        for (const auto& [peer, x] : receives)
          if (x.elements() > 0) check(ncclRecv(x.raw(), count_of(x), type_of(x.dtype()), peer, comm_, stream));
      });
  return std::make_unique<NcclTransfer>(nccl_, given);
}

}  // namespace

std::shared_ptr<Communicator> make_nccl_world(std::shared_ptr<Communicator> host, Runtime& runtime,
                                              const WorldOptions& options) {
  const int rank = host->rank();
  auto shared = std::make_shared<NcclRank>(runtime, options, host->name(rank));
  std::vector<int32_t> ranks(static_cast<size_t>(host->size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  ncclComm_t comm = nullptr;
  if (host->size() > 1) {
    std::vector<int> others(ranks.begin(), ranks.end());
    std::erase(others, rank);
    ncclUniqueId id{};
    if (rank == 0) shared->finish(ncclGetUniqueId(&id), nullptr, "finding a network for NCCL", {});
    host->broadcast(Tensor(&id, DType::kU8, Device{}, {sizeof id}), 0);
    runtime.stream();  // makes the device the current one of this thread
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    const ncclResult_t result = ncclCommInitRankConfig(&comm, host->size(), id, rank, &config);
    shared->finish(result, comm, "connecting the devices by NCCL", others);
  }
  return std::make_shared<NcclCommunicator>(std::move(host), std::move(shared), comm, std::move(ranks));
}

}  // namespace ROPEWALK_CUDA
