#include "parallel/communicator/thread_communicator.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "parallel/communicator/host_communicator.h"
#include "parallel/communicator/watched_time.h"

namespace ropewalk {

// Shared by all groups that were split from one world: whether the world has failed.
class ThreadFate {
 public:
  explicit ThreadFate(std::chrono::milliseconds longest_wait) : deadline(longest_wait) {}
  void add(const std::shared_ptr<ThreadGroup>& group);
  void fail(const std::string& reason);  // the first reason stays
  bool failed() const { return failed_.load(); }
  [[noreturn]] void raise();  // when no other thread uses this rank's messages any more

  const std::chrono::milliseconds deadline;

 private:
  std::mutex mutex_;
  std::atomic<bool> failed_ = false;
  std::string reason_;
  std::vector<std::weak_ptr<ThreadGroup>> groups_;
};

namespace {

// Between two looks of a wait at the clock: a twentieth of the deadline, within these bounds.
constexpr std::chrono::milliseconds kShortestInterval(1), kLongestInterval(100);

// A rank waits here, for exchanges of all its groups.
struct Inbox {
  std::mutex mutex;
  std::condition_variable changed;
  int64_t news = 0;  // number of exchanges that have completed
};

// The calls of a rank in a group.
struct Member {
  explicit Member(std::shared_ptr<Inbox> of_rank) : inbox(std::move(of_rank)) {}

  // Whether the rank will post no more messages of this call: it has made a later call, and if this one is a
  // collective, none of its rounds is outstanding. Hold the inbox's mutex, which guards the members below too.
  bool is_past(CallLabel label) const {
    return newest > label.sequence && (label.collective == Collective::kExchange ||
                                       std::ranges::find(open_calls, label.sequence) == open_calls.end());
  }

  const std::shared_ptr<Inbox> inbox;
  int64_t newest = 0;               // sequence number of its newest call here
  std::vector<int64_t> open_calls;  // of its calls in flight: one entry for each round
};

// One message of an exchange, posted and not yet copied. `open` belongs to the exchange and is guarded by its rank's
// inbox.
struct Post {
  Message message;
  CallLabel label;
  Inbox* inbox;
  bool* open;
  int* open_count;
};

// Messages from one rank to another that only one of the two has posted.
struct Channel {
  std::mutex mutex;
  std::deque<Post> sends, receives;
};

void complete(const Post& post) {
  const std::lock_guard lock(post.inbox->mutex);
  *post.open = false;
  if (--*post.open_count > 0) return;
  ++post.inbox->news;
  post.inbox->changed.notify_all();
}

// Why the two do not match; empty if they match.
std::string mismatch(const Roster& group, const Post& send, const Post& receive) {
  const Tensor &from = send.message.data, &to = receive.message.data;
  if (send.label == receive.label && from.bytes() == to.bytes() && from.dtype() == to.dtype()) return {};
  return fmt::format("{} sends {} in {}, but {} expects {} in {}", group.name(receive.message.peer),
                     describe_send(group, send.message), describe(send.label), group.name(send.message.peer),
                     describe_receive(group, receive.message), describe(receive.label));
}

}  // namespace

// The channels and members of one group, and the groups that are being split from it.
class ThreadGroup {
 public:
  ThreadGroup(std::shared_ptr<ThreadFate> shared_fate, Roster names, std::span<const std::shared_ptr<Inbox>> inboxes)
      : fate(std::move(shared_fate)),
        roster(std::move(names)),
        size(roster.size()),
        members(inboxes.begin(), inboxes.end()),
        channels_(static_cast<size_t>(size * size)) {}

  Channel& channel(int from, int to) { return channels_[static_cast<size_t>(from * size + to)]; }
  void post(const Post& post, int rank, bool is_send);
  void clear();
  std::shared_ptr<ThreadGroup> subgroup(int64_t sequence, const std::vector<int>& ranks);

  const std::shared_ptr<ThreadFate> fate;
  const Roster roster;
  const int size;
  std::vector<Member> members;

 private:
  const Post* never_answered(const Post& post, const std::deque<Post>& counterparts, int rank);

  struct Forming {
    std::shared_ptr<ThreadGroup> group;
    size_t missing;
  };
  std::vector<Channel> channels_;
  std::mutex forming_mutex_;
  std::map<std::pair<int64_t, int>, Forming> forming_;  // by the split's sequence number and the first rank
};

// Finds the counterpart by the number of the call: with several calls in flight, messages between two ranks are not
// posted in the order of the calls.
void ThreadGroup::post(const Post& post, int rank, bool is_send) {
  const int peer = post.message.peer;
  Channel& channel = is_send ? this->channel(rank, peer) : this->channel(peer, rank);
  std::string complaint;
  {
    const std::lock_guard lock(channel.mutex);
    if (fate->failed()) return;  // wait() reports it
    std::deque<Post>& counterparts = is_send ? channel.receives : channel.sends;
    const auto found = std::ranges::find_if(
        counterparts, [&](const Post& other) { return other.label.sequence == post.label.sequence; });
    const Post* other = found != counterparts.end() ? &*found : nullptr;
    if (!other) other = never_answered(post, counterparts, rank);
    if (!other) {
      (is_send ? channel.sends : channel.receives).push_back(post);
      return;
    }
    const Post &send = is_send ? post : *other, &receive = is_send ? *other : post;
    complaint = mismatch(roster, send, receive);
    CHECK(found != counterparts.end() || !complaint.empty(), "messages of different calls that match");
    if (complaint.empty()) {
      const Tensor& from = send.message.data;
      if (from.bytes() > 0) std::memcpy(receive.message.data.raw(), from.raw(), static_cast<size_t>(from.bytes()));
      complete(send);
      complete(receive);
      counterparts.erase(found);
    }
  }
  if (!complaint.empty()) fate->fail(complaint);
}

// A message of the peer that proves that the ranks make different calls: one of a call that this rank is past, or any
// if the peer is past the call of `post`. Null if there is none.
const Post* ThreadGroup::never_answered(const Post& post, const std::deque<Post>& counterparts, int rank) {
  if (counterparts.empty()) return nullptr;
  const auto is_past = [&](int who, CallLabel label) {
    Member& member = members[static_cast<size_t>(who)];
    const std::lock_guard lock(member.inbox->mutex);
    return member.is_past(label);
  };
  if (is_past(post.message.peer, post.label)) return &counterparts.front();
  const auto passed = std::ranges::find_if(counterparts, [&](const Post& other) { return is_past(rank, other.label); });
  return passed != counterparts.end() ? &*passed : nullptr;
}

// After a failure: drops all messages, once no rank is copying one, and wakes all ranks.
void ThreadGroup::clear() {
  for (Channel& channel : channels_) {
    const std::lock_guard lock(channel.mutex);
    channel.sends.clear();
    channel.receives.clear();
  }
  for (Member& member : members) {
    const std::lock_guard lock(member.inbox->mutex);
    member.inbox->changed.notify_all();
  }
}

// The first rank that calls makes the group; the last one removes it from the table.
std::shared_ptr<ThreadGroup> ThreadGroup::subgroup(int64_t sequence, const std::vector<int>& ranks) {
  const std::lock_guard lock(forming_mutex_);
  const auto [entry, is_new] = forming_.try_emplace({sequence, ranks.front()});
  Forming& forming = entry->second;
  if (is_new) {
    std::vector<std::shared_ptr<Inbox>> inboxes;
    for (const int rank : ranks) inboxes.push_back(members[static_cast<size_t>(rank)].inbox);
    forming = {std::make_shared<ThreadGroup>(fate, roster.of(ranks), inboxes), ranks.size()};
    fate->add(forming.group);
  }
  const std::shared_ptr<ThreadGroup> group = forming.group;
  if (--forming.missing == 0) forming_.erase(entry);
  return group;
}

void ThreadFate::add(const std::shared_ptr<ThreadGroup>& group) {
  const std::lock_guard lock(mutex_);
  std::erase_if(groups_, [](const std::weak_ptr<ThreadGroup>& other) { return other.expired(); });
  groups_.push_back(group);
}

void ThreadFate::fail(const std::string& reason) {
  const std::lock_guard lock(mutex_);
  if (failed_.load()) return;
  reason_ = reason;
  failed_.store(true);
  for (const std::weak_ptr<ThreadGroup>& entry : groups_) {
    if (const std::shared_ptr<ThreadGroup> group = entry.lock()) group->clear();
  }
}

void ThreadFate::raise() {
  const std::lock_guard lock(mutex_);  // held by fail() until all messages are dropped
  throw CommunicationError(reason_);
}

namespace {

class ThreadExchange : public Transfer {
 public:
  ThreadExchange(ThreadGroup& group, int rank, ProgressEngine& engine, CallLabel label, std::span<const Message> sends,
                 std::span<const Message> receives)
      : group_(group),
        member_(group.members[static_cast<size_t>(rank)]),
        inbox_(*member_.inbox),
        engine_(engine),
        rank_(rank),
        label_(label) {
    messages_.assign(sends.begin(), sends.end());
    messages_.insert(messages_.end(), receives.begin(), receives.end());
    sends_ = sends.size();
    open_count_ = static_cast<int>(messages_.size());
    open_ = std::make_unique<bool[]>(messages_.size());
    std::fill_n(open_.get(), messages_.size(), true);
    {
      const std::lock_guard lock(inbox_.mutex);
      member_.open_calls.push_back(label.sequence);
      member_.newest = std::max(member_.newest, label.sequence);
    }
    for (size_t i = 0; i < messages_.size(); ++i) {
      group.post({messages_[i], label, &inbox_, &open_[i], &open_count_}, rank, i < sends_);
    }
  }

  ~ThreadExchange() override {
    try {
      wait();
    } catch (const CommunicationError&) {  // swallowed, as the interface says
    }
    const std::lock_guard lock(inbox_.mutex);
    member_.open_calls.erase(std::ranges::find(member_.open_calls, label_.sequence));
  }

  bool progress() override {  // moves nothing: the rank that posts second copies
    {
      const std::lock_guard lock(inbox_.mutex);
      if (open_count_ == 0) return true;
    }
    if (group_.fate->failed()) group_.fate->raise();
    return false;
  }

  void wait() override {
    WatchedTime waited(group_.fate->deadline);
    const auto interval = std::clamp(group_.fate->deadline / 20, kShortestInterval, kLongestInterval);
    std::unique_lock lock(inbox_.mutex);
    while (open_count_ > 0) {
      const int64_t seen = inbox_.news;
      lock.unlock();
      if (group_.fate->failed()) group_.fate->raise();
      engine_.poll();
      lock.lock();
      const auto stirred = [&] { return open_count_ == 0 || inbox_.news != seen || group_.fate->failed(); };
      inbox_.changed.wait_for(lock, interval, stirred);
      waited.look();
      if (stirred() || !waited.is_over()) continue;
      const std::string overdue = describe_open(waited.seconds());
      lock.unlock();
      group_.fate->fail(overdue);
      group_.fate->raise();
    }
  }

 private:
  std::string describe_open(double seconds) const {
    std::vector<Message> sends, receives;
    for (size_t i = 0; i < messages_.size(); ++i)
      if (open_[i]) (i < sends_ ? sends : receives).push_back(messages_[i]);
    return describe_unresponsive(group_.roster, rank_, label_, sends, receives, seconds);
  }

  ThreadGroup& group_;
  Member& member_;
  Inbox& inbox_;
  ProgressEngine& engine_;
  int rank_;
  CallLabel label_;
  std::vector<Message> messages_;  // sends, then receives
  size_t sends_;
  std::unique_ptr<bool[]> open_;  // this and the next are guarded by the inbox
  int open_count_;
};

class ThreadCommunicator : public HostCommunicator {
 public:
  ThreadCommunicator(std::shared_ptr<ThreadGroup> group, int rank, std::shared_ptr<ProgressEngine> engine)
      : HostCommunicator(rank, group->roster, std::move(engine)), group_(std::move(group)) {}

 protected:
  std::unique_ptr<Transfer> post(CallLabel label, std::span<const Message> sends,
                                 std::span<const Message> receives) override {
    if (group_->fate->failed()) group_->fate->raise();
    return std::make_unique<ThreadExchange>(*group_, rank(), progress_engine(), label, sends, receives);
  }

  std::unique_ptr<Communicator> make_group(CallLabel label, const std::vector<int>& members) override {
    const auto place = std::find(members.begin(), members.end(), rank()) - members.begin();
    return std::make_unique<ThreadCommunicator>(group_->subgroup(label.sequence, members), static_cast<int>(place),
                                                shared_progress_engine());
  }

 private:
  std::shared_ptr<ThreadGroup> group_;
};

}  // namespace

ThreadWorld::ThreadWorld(int size, std::chrono::milliseconds deadline) {
  std::vector<std::shared_ptr<Inbox>> inboxes(static_cast<size_t>(size));
  for (auto& inbox : inboxes) inbox = std::make_shared<Inbox>();
  group_ = std::make_shared<ThreadGroup>(std::make_shared<ThreadFate>(deadline), Roster(size), inboxes);
  group_->fate->add(group_);
}

ThreadWorld::~ThreadWorld() = default;

std::shared_ptr<Communicator> ThreadWorld::communicator(int rank) const {
  CHECK(rank >= 0 && rank < group_->size, "rank {} of a world of {}", rank, group_->size);
  return std::make_shared<ThreadCommunicator>(group_, rank, std::make_shared<ProgressEngine>());
}

void ThreadWorld::fail(const std::string& reason) { group_->fate->fail(reason); }

}  // namespace ropewalk
