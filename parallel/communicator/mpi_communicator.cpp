#include "parallel/communicator/mpi_communicator.h"

#define OMPI_SKIP_MPICXX 1  // the C++ bindings that MPI has dropped
#include <mpi.h>
#include <sched.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <exception>
#include <limits>
#include <optional>
#include <set>
#include <thread>
#include <utility>

#include "parallel/communicator/host_communicator.h"
#include "parallel/communicator/watched_time.h"

namespace ropewalk {

// launch/process/launcher.h checks the server of Open MPI through which the ranks find each other.
static_assert(OPEN_MPI, "ropewalk needs Open MPI");
namespace {

using Clock = std::chrono::steady_clock;

// A wait polls eagerly for as long as its messages may take, then more and more rarely, so that ranks that share a core
// let each other work. The time is counted from the last message that completed, and grows with the bytes: each poll
// moves only a piece of a long message (96 KiB where Open MPI copies it through shared memory).
constexpr auto kEagerPolling = std::chrono::microseconds(500);
constexpr int64_t kEagerBytesPerMicrosecond = 1000;
constexpr auto kShortestPause = std::chrono::microseconds(20);
constexpr auto kLongestPause = std::chrono::microseconds(200);
constexpr int kLowestTagBound = 32767;  // least value of MPI_TAG_UB, by the MPI standard
constexpr auto kCheckInterval = std::chrono::milliseconds(100);

std::string error_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<size_t>(length));
}

void check_mpi(int code, const char* call) {
  if (code != MPI_SUCCESS) throw CommunicationError(fmt::format("{}: {}", call, error_text(code)));
}

// The datatype and count of a message. A message of more bytes than an int counts is one element of a derived type.
class MessageType {
 public:
  explicit MessageType(int64_t bytes) {
    if (bytes <= std::numeric_limits<int>::max()) {
      count_ = static_cast<int>(bytes);
      return;
    }
    constexpr int64_t kBlock = 1 << 20;
    MPI_Datatype block;
    check_mpi(MPI_Type_contiguous(kBlock, MPI_BYTE, &block), "MPI_Type_contiguous");
    const int64_t blocks = bytes / kBlock;
    int counts[] = {static_cast<int>(blocks), static_cast<int>(bytes % kBlock)};
    MPI_Aint places[] = {0, static_cast<MPI_Aint>(blocks * kBlock)};
    MPI_Datatype types[] = {block, MPI_BYTE};
    check_mpi(MPI_Type_create_struct(2, counts, places, types, &type_), "MPI_Type_create_struct");
    check_mpi(MPI_Type_commit(&type_), "MPI_Type_commit");
    MPI_Type_free(&block);
    count_ = 1;
  }
  ~MessageType() {
    if (type_ != MPI_BYTE) MPI_Type_free(&type_);  // messages in flight keep it
  }
  MessageType(const MessageType&) = delete;
  MessageType& operator=(const MessageType&) = delete;

  MPI_Datatype type() const { return type_; }
  int count() const { return count_; }

 private:
  MPI_Datatype type_ = MPI_BYTE;
  int count_ = 0;
};

// A tag describes its message, so that a send matches a receive only if both agree. From the lowest bit: 3 bits of
// element type, 3 of operation, a hash of the size and of the place among the messages of this pair, and as much of the
// sequence number as fits. Different sizes must not match, because MPI libraries have written beyond a receive buffer
// that was too short (Open MPI 4.1.4 does for long messages within a machine): MPI reports the error afterwards, but
// the damage is done.
class Tags {
 public:
  explicit Tags(int highest_tag) {
    const int bits = std::bit_width(static_cast<unsigned>(highest_tag) + 1u) - 1;  // at least 15, says the standard
    hash_bits_ = std::clamp(bits - 6 - kSequenceBits, 0, kMostHashBits);
    modulus_ = int64_t{1} << (bits - 6 - hash_bits_);
  }

  int encode(CallLabel label, const Tensor& data, int place) const {
    const uint64_t mixed =
        (static_cast<uint64_t>(data.bytes()) * 64 + static_cast<uint64_t>(place) + 1) * 0x9e3779b97f4a7c15u;
    const uint64_t hash = hash_bits_ > 0 ? mixed >> (64 - hash_bits_) : 0;
    const auto sequence = static_cast<uint64_t>(label.sequence % modulus_);
    return static_cast<int>(((sequence << hash_bits_ | hash) << 3 | static_cast<uint64_t>(label.collective)) << 3 |
                            static_cast<uint64_t>(data.dtype()));
  }
  static Collective collective(int tag) { return static_cast<Collective>((tag >> 3) & 7); }
  static DType dtype(int tag) { return static_cast<DType>(tag & 7); }
  // How many calls before `newest` the tag's call was; negative: after it.
  int64_t age(int tag, int64_t newest) const {
    const int64_t difference = ((newest - (tag >> (6 + hash_bits_))) % modulus_ + modulus_) % modulus_;
    return difference < modulus_ / 2 ? difference : difference - modulus_;
  }

 private:
  static constexpr int kSequenceBits = 12;  // reserved before the hash gets any
  static constexpr int kMostHashBits = 13;
  int hash_bits_;
  int64_t modulus_;
};

// A message that has arrived and that no receive expects. A receive may still be posted: the peer may be ahead of this
// rank, and collectives, several of which may be in flight, post their receives in rounds. Otherwise the ranks are
// making different calls.
struct Stray {
  std::string text;
  bool may_be_expected;
};

// Shared by a communicator and its exchanges.
struct MpiGroup {
  MpiGroup(MPI_Comm communicator, int own_rank, Roster names, WorldOptions world_options)
      : comm(communicator), rank(own_rank), roster(std::move(names)), options(std::move(world_options)) {
    if (comm == MPI_COMM_NULL) return;  // a group of one, which sends no messages
    check_mpi(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
    int* highest_tag = nullptr;
    int found = 0;
    check_mpi(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &highest_tag, &found), "MPI_Comm_get_attr");
    CHECK(found, "MPI does not say its highest tag");
    tags = Tags(*highest_tag);
  }
  ~MpiGroup() {
    int finalized = 0;
    MPI_Finalized(&finalized);
    if (comm != MPI_COMM_NULL && !finalized && failure.empty()) MPI_Comm_free(&comm);
  }
  MpiGroup(const MpiGroup&) = delete;
  MpiGroup& operator=(const MpiGroup&) = delete;

  [[noreturn]] void fail(const std::string& reason, const UnresponsivePeers& unresponsive = {}) {
    if (failure.empty()) failure = reason;
    throw PeerError(reason, unresponsive);
  }
  // The first message from a peer that no receive expects.
  std::optional<Stray> stray_from(int peer) const;

  MPI_Comm comm;
  const int rank;
  const Roster roster;
  const WorldOptions options;
  Tags tags{kLowestTagBound};
  // This rank's calls, with the element type of their messages: one entry for each round in flight, and the newest.
  struct Call {
    CallLabel label;
    DType dtype;
    bool operator==(const Call&) const = default;
  };
  std::vector<Call> open_calls;
  Call newest{{Collective::kExchange, 0}, DType::kU8};
  std::vector<int> places;  // scratch
  std::string failure;      // the first one; the group is then unusable
};

std::optional<Stray> MpiGroup::stray_from(int peer) const {
  int found = 0;
  MPI_Status status;
  if (MPI_Iprobe(peer, MPI_ANY_TAG, comm, &found, &status) != MPI_SUCCESS || !found) return {};
  const int tag = status.MPI_TAG;
  const int64_t age = tags.age(tag, newest.label.sequence);
  const Call call{{Tags::collective(tag), newest.label.sequence - age}, Tags::dtype(tag)};
  const bool is_of_a_collective = call.label.collective != Collective::kExchange &&
                                  (call == newest || std::ranges::find(open_calls, call) != open_calls.end());
  MPI_Count bytes = 0;
  MPI_Get_elements_x(&status, MPI_BYTE, &bytes);
  return Stray{fmt::format("{} has sent {} bytes of {} in {}", roster.name(peer), bytes, name_of(call.dtype),
                           describe(call.label)),
               age < 0 || is_of_a_collective};
}

class MpiExchange : public Transfer {
 public:
  MpiExchange(MpiGroup& group, ProgressEngine& engine, CallLabel label, std::span<const Message> sends,
              std::span<const Message> receives);
  ~MpiExchange() override;
  bool progress() override;
  void wait() override;

 private:
  bool poll();  // true if a message has completed
  void finish(size_t index, const MPI_Status& status, bool has_error);
  void give_up();  // frees the requests of outstanding messages
  // Throws when ranks disagree or the deadline has passed.
  void check_peers(const WatchedTime& waited, Clock::time_point now);

  MpiGroup& group_;
  ProgressEngine& engine_;
  MpiGroup::Call call_;
  std::vector<Message> messages_;  // receives, then sends
  size_t receives_;
  std::vector<MPI_Request> requests_;
  std::vector<int> finished_;  // of a poll
  std::vector<MPI_Status> statuses_;
  size_t open_count_ = 0;
  Clock::time_point next_check_{};
};

MpiExchange::MpiExchange(MpiGroup& group, ProgressEngine& engine, CallLabel label, std::span<const Message> sends,
                         std::span<const Message> receives)
    : group_(group),
      engine_(engine),
      call_{label, (sends.empty() ? receives : sends).front().data.dtype()},
      receives_(receives.size()) {
  if (!group_.failure.empty()) throw CommunicationError("the group has failed before: " + group_.failure);
  group_.open_calls.push_back(call_);
  if (label.sequence >= group_.newest.label.sequence) group_.newest = call_;
  messages_.assign(receives.begin(), receives.end());
  messages_.insert(messages_.end(), sends.begin(), sends.end());
  requests_.assign(messages_.size(), MPI_REQUEST_NULL);
  finished_.resize(messages_.size());
  statuses_.resize(messages_.size());
  std::vector<int>& places = group_.places;  // messages per peer so far, of receives and then of sends
  places.assign(static_cast<size_t>(group_.roster.size()), 0);
  for (size_t i = 0; i < messages_.size(); ++i) {
    if (i == receives_) places.assign(static_cast<size_t>(group_.roster.size()), 0);
    const auto& [peer, data] = messages_[i];
    const MessageType type(data.bytes());
    const int tag = group_.tags.encode(label, data, places[static_cast<size_t>(peer)]++);
    const int code = i < receives_
                         ? MPI_Irecv(data.raw(), type.count(), type.type(), peer, tag, group_.comm, &requests_[i])
                         : MPI_Isend(data.raw(), type.count(), type.type(), peer, tag, group_.comm, &requests_[i]);
    if (code != MPI_SUCCESS) {
      give_up();
      group_.fail(
          fmt::format("{} could not start {}: {}", group_.roster.name(group_.rank), describe(label), error_text(code)));
    }
    ++open_count_;
  }
}

MpiExchange::~MpiExchange() {
  while (open_count_ > 0) {
    try {
      wait();
    } catch (const CommunicationError&) {  // swallowed, as the interface says; those of other transfers too
    }
  }
  group_.open_calls.erase(std::ranges::find(group_.open_calls, call_));
}

bool MpiExchange::progress() {
  if (open_count_ == 0) return true;
  try {
    poll();
  } catch (...) {
    give_up();
    throw;
  }
  return open_count_ == 0;
}

void MpiExchange::wait() {
  if (open_count_ == 0) return;
  int64_t open_bytes = 0;
  for (size_t i = 0; i < messages_.size(); ++i)
    if (requests_[i] != MPI_REQUEST_NULL) open_bytes += messages_[i].data.bytes();
  const auto eager = kEagerPolling + std::chrono::microseconds(open_bytes / kEagerBytesPerMicrosecond);
  WatchedTime waited(group_.options.deadline);
  auto last_news = Clock::now();
  while (open_count_ > 0) {
    engine_.poll();
    try {
      const bool news = poll();
      const auto now = Clock::now();
      waited.look();
      if (news) {
        last_news = now;
        continue;
      }
      if (now - last_news >= kEagerPolling) check_peers(waited, now);
      if (now - last_news < eager) {
        sched_yield();
      } else {
        const auto pause = std::clamp<Clock::duration>((now - last_news) / 8, kShortestPause, kLongestPause);
        std::this_thread::sleep_for(pause);
      }
    } catch (...) {
      give_up();
      throw;
    }
  }
}

bool MpiExchange::poll() {
  if (!group_.failure.empty()) throw CommunicationError("the group has failed before: " + group_.failure);
  int count = 0;
  const int code =
      MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count, finished_.data(), statuses_.data());
  if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
    group_.fail(fmt::format("{} in {}: {}", group_.roster.name(group_.rank), describe(call_.label), error_text(code)));
  }
  if (count == MPI_UNDEFINED) count = 0;
  for (int i = 0; i < count; ++i) {
    const auto index = static_cast<size_t>(finished_[static_cast<size_t>(i)]);
    --open_count_;
    finish(index, statuses_[static_cast<size_t>(i)], code == MPI_ERR_IN_STATUS);
  }
  return count > 0;
}

void MpiExchange::finish(size_t index, const MPI_Status& status, bool has_error) {
  const Message& message = messages_[index];
  const bool is_receive = index < receives_;
  const int error = has_error ? status.MPI_ERROR : MPI_SUCCESS;
  int error_class = MPI_SUCCESS;
  if (error != MPI_SUCCESS) MPI_Error_class(error, &error_class);
  MPI_Count bytes = message.data.bytes();
  if (is_receive) MPI_Get_elements_x(&status, MPI_BYTE, &bytes);
  if (is_receive && (error_class == MPI_ERR_TRUNCATE || (error == MPI_SUCCESS && bytes != message.data.bytes()))) {
    group_.fail(fmt::format("{} expects {} in {}, but {} were sent", group_.roster.name(group_.rank),
                            describe_receive(group_.roster, message), describe(call_.label), bytes));
  }
  if (error != MPI_SUCCESS) {
    const auto describe_message = is_receive ? describe_receive : describe_send;
    group_.fail(fmt::format("{} in {}, {}: {}", group_.roster.name(group_.rank), describe(call_.label),
                            describe_message(group_.roster, message), error_text(error)));
  }
}

void MpiExchange::check_peers(const WatchedTime& waited, Clock::time_point now) {
  const bool overdue = waited.is_over();
  if (!overdue && now < next_check_) return;
  next_check_ = now + kCheckInterval;
  const bool called = !overdue && group_.options.give_up && group_.options.give_up();
  if (called && poll()) return;  // the messages of a rank that failed after its part in this call precede its report
  std::vector<Message> sends, receives;
  std::set<int> unresponsive;
  std::string strays;
  for (size_t i = 0; i < messages_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    const Message& message = messages_[i];
    (i < receives_ ? receives : sends).push_back(message);
    if (!unresponsive.insert(group_.roster.world_rank(message.peer)).second) continue;
    const std::optional<Stray> stray = group_.stray_from(message.peer);
    if (!stray) continue;
    if (!stray->may_be_expected) {
      const auto describe_message = i < receives_ ? describe_receive : describe_send;
      group_.fail(fmt::format("{}, which {} does not expect: it waits in {} for {}", stray->text,
                              group_.roster.name(group_.rank), describe(call_.label),
                              describe_message(group_.roster, message)));
    }
    strays += "\n  meanwhile " + stray->text;
  }
  if (!overdue && !called) return;
  group_.fail(
      describe_unresponsive(group_.roster, group_.rank, call_.label, sends, receives, waited.seconds()) + strays,
      {{unresponsive.begin(), unresponsive.end()}, waited.seconds()});
}

// Frees the requests only: MPI may still use the buffers of messages that it has begun to move.
void MpiExchange::give_up() {
  for (size_t i = 0; i < requests_.size(); ++i) {
    if (requests_[i] == MPI_REQUEST_NULL) continue;
    if (i < receives_) MPI_Cancel(&requests_[i]);
    MPI_Request_free(&requests_[i]);
  }
  open_count_ = 0;
}

class MpiCommunicator : public HostCommunicator {
 public:
  MpiCommunicator(std::unique_ptr<MpiGroup> group, std::shared_ptr<ProgressEngine> engine)
      : HostCommunicator(group->rank, group->roster, std::move(engine)), group_(std::move(group)) {}

 protected:
  std::unique_ptr<Transfer> post(CallLabel label, std::span<const Message> sends,
                                 std::span<const Message> receives) override {
    return std::make_unique<MpiExchange>(*group_, progress_engine(), label, sends, receives);
  }

  std::unique_ptr<Communicator> make_group(CallLabel, const std::vector<int>& members) override {
    // Not MPI_Comm_create_group: Open MPI 4.1.4 sends its messages among ours, where they look like strays.
    const auto place = static_cast<int>(std::find(members.begin(), members.end(), rank()) - members.begin());
    const int color = members.size() > 1 ? members.front() : MPI_UNDEFINED;
    MPI_Comm comm = MPI_COMM_NULL;
    if (size() > 1) {
      const CallWatch watch("MPI_Comm_split", group_->options.deadline, group_->options.on_overdue);
      check_mpi(MPI_Comm_split(group_->comm, color, place, &comm), "MPI_Comm_split");
    }
    return std::make_unique<MpiCommunicator>(
        std::make_unique<MpiGroup>(comm, place, group_->roster.of(members), group_->options), shared_progress_engine());
  }

 private:
  std::unique_ptr<MpiGroup> group_;
};

}  // namespace

MpiSession::MpiSession(std::chrono::milliseconds deadline, OverdueHandler on_overdue)
    : exceptions_(std::uncaught_exceptions()), deadline_(deadline), on_overdue_(std::move(on_overdue)) {
  int level = 0;
  {
    const CallWatch watch("MPI_Init", deadline_, on_overdue_);
    check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread");
  }
  if (level < MPI_THREAD_FUNNELED) {
    throw ConfigurationError(
        "this MPI library does not support processes with several threads (MPI_THREAD_FUNNELED); use one built with "
        "thread support");
  }
  check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler");
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  int length = 0;
  char host[MPI_MAX_PROCESSOR_NAME];
  check_mpi(MPI_Get_processor_name(host, &length), "MPI_Get_processor_name");
  host_.assign(host, static_cast<size_t>(length));
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  check_mpi(MPI_Get_library_version(text, &length), "MPI_Get_library_version");
  library_.assign(text, static_cast<size_t>(length));
}

MpiSession::~MpiSession() {
  if (std::uncaught_exceptions() != exceptions_) return;
  const CallWatch watch("MPI_Finalize", deadline_, on_overdue_);
  MPI_Finalize();
}

int MpiSession::node_rank() const {
  const CallWatch watch("MPI_Comm_split_type", deadline_, on_overdue_);
  MPI_Comm node;
  check_mpi(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node), "MPI_Comm_split_type");
  int rank = 0;
  MPI_Comm_rank(node, &rank);
  MPI_Comm_free(&node);
  return rank;
}

void MpiSession::leave(int code, std::chrono::milliseconds patience) const {
  const CallWatch watch("MPI_Finalize", patience, [code](const std::string&, double) { std::_Exit(code); });
  MPI_Finalize();
  std::_Exit(code);
}

void MpiSession::abort(int code, std::chrono::milliseconds patience) const {
  const CallWatch watch("MPI_Abort", patience, [code](const std::string&, double) { std::_Exit(code); });
  MPI_Abort(MPI_COMM_WORLD, code);
  std::_Exit(code);  // MPI_Abort does not return
}

std::shared_ptr<Communicator> make_mpi_world(const WorldOptions& options) {
  int initialized = 0;
  MPI_Initialized(&initialized);
  CHECK(initialized, "an MPI world is made before the MpiSession");
  MPI_Comm comm;
  {
    const CallWatch watch("MPI_Comm_dup", options.deadline, options.on_overdue);
    check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup");
  }
  int rank = 0, size = 0;
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  return std::make_shared<MpiCommunicator>(std::make_unique<MpiGroup>(comm, rank, Roster(size, options.hosts), options),
                                           std::make_shared<ProgressEngine>());
}

}  // namespace ropewalk
