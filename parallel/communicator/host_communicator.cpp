#include "parallel/communicator/host_communicator.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>

#include "parallel/communicator/checks.h"
#include "parallel/communicator/ordered_reduction.h"

namespace ropewalk {
namespace {

// A reduction proceeds in segments, so that its scratch is bounded; the next segment is in flight while one is added.
constexpr int64_t kScratchBytes = 16 << 20;
constexpr int64_t kSmallestSegmentBytes = 64 << 10;
constexpr int64_t kLargestSegmentBytes = 1 << 20;

void copy(const Tensor& from, const Tensor& to) {
  if (from.raw() != to.raw() && from.bytes() > 0) {
    std::memmove(to.raw(), from.raw(), static_cast<size_t>(from.bytes()));
  }
}

std::set<int> peers_of(std::span<const Message> messages) {
  std::set<int> peers;
  for (const Message& message : messages) peers.insert(message.peer);
  return peers;
}

// "400 bytes of f32"
std::string amount_of(std::span<const Message> messages) {
  const int64_t first = messages.front().data.bytes();
  int64_t bytes = 0;
  for (const Message& message : messages) bytes += message.data.bytes();
  std::string amount = fmt::format("{} bytes", first);
  if (messages.size() > 1)
    amount = std::ranges::all_of(messages, [&](const Message& message) { return message.data.bytes() == first; })
                 ? fmt::format("{} times {} bytes", messages.size(), first)
                 : fmt::format("{} bytes in {} messages", bytes, messages.size());
  return fmt::format("{} of {}", amount, name_of(messages.front().data.dtype()));
}

}  // namespace

HostCommunicator::HostCommunicator(int rank, Roster roster, std::shared_ptr<ProgressEngine> engine)
    : rank_(rank),
      size_(roster.size()),
      roster_(std::move(roster)),
      progress_engine_(std::move(engine)),
      scratch_([](int64_t bytes) { return ::operator new(static_cast<size_t>(bytes)); },
               [](void* memory) { ::operator delete(memory); }) {}

std::unique_ptr<Transfer> HostCommunicator::start_exchange(std::span<const Message> sends,
                                                           std::span<const Message> receives) {
  return exchange(next(Collective::kExchange), sends, receives);
}

// Copies the messages of this rank to itself; the transport sees only the others.
std::unique_ptr<Transfer> HostCommunicator::exchange(CallLabel label, std::span<const Message> sends,
                                                     std::span<const Message> receives) {
  std::vector<Message> to_self, from_self, sends_out, receives_in;
  const auto sort = [&](std::span<const Message> messages, std::vector<Message>& self, std::vector<Message>& others) {
    for (const Message& message : messages) {
      check_peer(message.peer, *this);
      check_on_host(message.data, label.collective);
      (message.peer == rank_ ? self : others).push_back(message);
    }
  };
  sort(sends, to_self, sends_out);
  sort(receives, from_self, receives_in);
  if (to_self.size() != from_self.size()) {
    throw CommunicationError(fmt::format("{}: {} lists {} sends to itself and {} receives from itself", describe(label),
                                         name(rank_), to_self.size(), from_self.size()));
  }
  for (size_t i = 0; i < to_self.size(); ++i) {
    const Tensor &from = to_self[i].data, &to = from_self[i].data;
    if (from.bytes() != to.bytes() || from.dtype() != to.dtype()) {
      throw CommunicationError(fmt::format("{}: {} sends itself {} where it expects {}", describe(label), name(rank_),
                                           describe_send(roster_, to_self[i]),
                                           describe_receive(roster_, from_self[i])));
    }
    copy(from, to);
  }
  for (const Message& message : sends_out) bytes_sent_ += message.data.bytes();
  if (sends_out.empty() && receives_in.empty()) return std::make_unique<FinishedTransfer>();
  return post(label, sends_out, receives_in);
}

void HostCommunicator::all_reduce(const Tensor& x, Reduction reduction) {
  check_on_host(x, Collective::kAllReduce);
  const CallLabel label = next(Collective::kAllReduce);
  const Tensor flat = x.flat();
  const Partition cut = Partition::even(flat.elements(), size_);
  const Tensor mine = flat.slice(cut.begin(rank_), cut.end(rank_));
  start_reduction(label, flat, cut, mine, reduction)->wait();
  start_gathering(label, mine, cut, flat)->wait();
}

std::unique_ptr<Transfer> HostCommunicator::start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                                 const Tensor& mine) {
  check_on_host(all, Collective::kReduceScatter);
  check_parts(Collective::kReduceScatter, all, rows, mine, *this);
  return start_reduction(next(Collective::kReduceScatter), all.flat(), in_elements(rows, all), mine.flat(),
                         Reduction::kSum);
}

std::unique_ptr<Transfer> HostCommunicator::start_all_gather(const Tensor& mine, const Partition& rows,
                                                             const Tensor& all) {
  check_on_host(all, Collective::kAllGather);
  check_parts(Collective::kAllGather, all, rows, mine, *this);
  return start_gathering(next(Collective::kAllGather), mine.flat(), in_elements(rows, all), all.flat());
}

HostCommunicator::Segments HostCommunicator::segments_of(int ranks, int64_t longest_part, DType dtype) {
  const int64_t bytes = std::clamp(kScratchBytes / (2 * (ranks - 1)), kSmallestSegmentBytes, kLargestSegmentBytes);
  Segments out{};
  out.elements = std::min(bytes / size_of(dtype), longest_part);
  out.rounds = (longest_part + out.elements - 1) / out.elements;
  out.scratch_bytes = std::min<int64_t>(out.rounds, 2) * (ranks - 1) * out.elements * size_of(dtype);
  return out;
}

// Round k moves the k-th segment of every part while the previous one is added. Two rounds are in flight at a time,
// each into its half of the scratch.
class HostCommunicator::SegmentedReduction final : public Transfer {
 public:
  SegmentedReduction(HostCommunicator& group, CallLabel label, const Tensor& all, const Partition& cut,
                     const Tensor& mine, Reduction reduction, int64_t longest_part)
      : group_(group),
        label_(label),
        all_(all),
        mine_(mine),
        cut_(cut),
        reduction_(reduction),
        segments_(segments_of(group.size_, longest_part, all.dtype())),
        halves_(group.scratch_.take(segments_.scratch_bytes)),
        inputs_(static_cast<size_t>(group.size_)),
        current_(start(0)),
        following_(start(1)) {}

  ~SegmentedReduction() override {
    try {
      wait();
    } catch (const CommunicationError&) {  // swallowed, as the interface says
    }
  }

  bool progress() override {
    return go_on([&] { return current_->progress(); });
  }
  void wait() override {
    go_on([&] {
      current_->wait();
      return true;
    });
  }

 private:
  Tensor segment_of(int part, int64_t round) const {
    const int64_t begin = std::min(cut_.begin(part) + round * segments_.elements, cut_.end(part));
    return all_.slice(begin, std::min(begin + segments_.elements, cut_.end(part)));
  }

  Tensor received(int peer, int64_t round) const {
    const int64_t slot = (round % 2) * (group_.size_ - 1) + (peer - group_.rank_ + group_.size_) % group_.size_ - 1;
    return Tensor(halves_->data() + slot * segments_.elements * size_of(all_.dtype()), all_.dtype(), Device{},
                  segment_of(group_.rank_, round).shape());
  }

  // Null after the last round.
  std::unique_ptr<Transfer> start(int64_t round) const {
    if (round >= segments_.rounds) return nullptr;
    const int size = group_.size_, rank = group_.rank_;
    std::vector<Message> sends, receives;
    for (int step = 1; step < size; ++step) {  // staggered, so that not all ranks send to rank 0 first
      const int to = (rank + step) % size, from = (rank - step + size) % size;
      if (const Tensor theirs = segment_of(to, round); theirs.elements() > 0) sends.push_back({to, theirs});
      if (const Tensor ours = received(from, round); ours.elements() > 0) receives.push_back({from, ours});
    }
    return group_.exchange(label_, sends, receives);
  }

  // Adds the segments received in this round, then proceeds to the next round.
  void add() {
    const Tensor own = segment_of(group_.rank_, round_);
    for (int peer = 0; peer < group_.size_; ++peer)
      inputs_[static_cast<size_t>(peer)] = peer == group_.rank_ ? own.raw() : received(peer, round_).raw();
    const int64_t begin = std::min(round_ * segments_.elements, mine_.elements());
    reduce_in_rank_order(inputs_, own.elements(), all_.dtype(), reduction_,
                         mine_.slice(begin, begin + own.elements()).raw());
    ++round_;
    current_ = std::move(following_);
    if (current_)
      following_ = start(round_ + 1);
    else
      halves_.reset();  // callers may keep a completed transfer for long
  }

  // Finishes as many rounds as it can; true when all are finished. After a failure, drops the messages in flight.
  template <typename Finish>
  bool go_on(Finish finish) {
    try {
      while (current_) {
        if (!finish()) return false;
        add();
      }
    } catch (...) {
      current_.reset();
      following_.reset();
      throw;
    }
    return true;
  }

  HostCommunicator& group_;
  CallLabel label_;
  Tensor all_, mine_;
  Partition cut_;
  Reduction reduction_;
  Segments segments_;
  int64_t round_ = 0;                       // of current_
  std::optional<BlockPool::Block> halves_;  // in the scratch
  std::vector<const void*> inputs_;
  std::unique_ptr<Transfer> current_, following_;
};

std::unique_ptr<Transfer> HostCommunicator::start_reduction(CallLabel label, const Tensor& all, const Partition& cut,
                                                            const Tensor& mine, Reduction reduction) {
  check_reduced(all);
  int64_t longest_part = 0;
  for (int part = 0; part < size_; ++part) longest_part = std::max(longest_part, cut.size(part));
  if (size_ == 1) copy(all, mine);
  if (size_ == 1 || longest_part == 0) return std::make_unique<FinishedTransfer>();
  return std::make_unique<SegmentedReduction>(*this, label, all, cut, mine, reduction, longest_part);
}

std::unique_ptr<Transfer> HostCommunicator::start_gathering(CallLabel label, const Tensor& mine, const Partition& cut,
                                                            const Tensor& all) {
  copy(mine, all.slice(cut.begin(rank_), cut.end(rank_)));
  std::vector<Message> sends, receives;
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    if (mine.elements() > 0) sends.push_back({to, mine});
    if (cut.size(from) > 0) receives.push_back({from, all.slice(cut.begin(from), cut.end(from))});
  }
  return exchange(label, sends, receives);
}

// A binomial tree, ranks counted from the root: in the round of distance d = 1, 2, 4, ... ranks [0, d) send to [d, 2d).
void HostCommunicator::broadcast(const Tensor& x, int root) {
  check_on_host(x, Collective::kBroadcast);
  check_root(root, *this);
  const CallLabel label = next(Collective::kBroadcast);
  const int place = (rank_ - root + size_) % size_;
  int distance = 1;
  while (distance <= place) distance *= 2;
  if (place > 0) {
    const Message from_parent{(place - distance / 2 + root) % size_, x};
    exchange(label, {}, {&from_parent, 1})->wait();
  }
  std::vector<Message> to_children;
  for (; place + distance < size_; distance *= 2) to_children.push_back({(place + distance + root) % size_, x});
  exchange(label, to_children, {})->wait();
}

// Dissemination: after the round of distance d this rank knows that the 2d ranks up to itself have entered the barrier.
// (Hensgen, Finkel & Manber, "Two algorithms for barrier synchronization", 1988.)
void HostCommunicator::barrier() {
  const CallLabel label = next(Collective::kBarrier);
  const Tensor nothing(nullptr, DType::kU8, Device{}, {0});
  for (int distance = 1; distance < size_; distance *= 2) {
    const Message to{(rank_ + distance) % size_, nothing};
    const Message from{(rank_ - distance + size_) % size_, nothing};
    exchange(label, {&to, 1}, {&from, 1})->wait();
  }
}

std::unique_ptr<Communicator> HostCommunicator::split(int color, int key) {
  const CallLabel label = next(Collective::kSplit);
  // In the scratch, which outlives a failed exchange.
  const BlockPool::Block block = scratch_.take(2 * size_ * size_of(DType::kI32));
  auto* const table = reinterpret_cast<int32_t*>(block.data());
  const Tensor all(table, DType::kI32, Device{}, {2 * size_});
  const Tensor mine = all.slice(2 * rank_, 2 * rank_ + 2);
  mine.data<int32_t>()[0] = color;
  mine.data<int32_t>()[1] = key;
  start_gathering(label, mine, Partition::even(2 * size_, size_), all)->wait();

  const auto color_of = [&](int rank) { return table[2 * rank]; };
  const auto key_of = [&](int rank) { return table[2 * rank + 1]; };
  std::vector<int> members;
  for (int rank = 0; rank < size_; ++rank) {
    if (color_of(rank) == color) members.push_back(rank);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return key_of(a) < key_of(b); });
  return make_group(label, members);
}

std::string describe_send(const Roster& group, const Message& message) {
  return fmt::format("{} bytes of {} to {}", message.data.bytes(), name_of(message.data.dtype()),
                     group.name(message.peer));
}

std::string describe_receive(const Roster& group, const Message& message) {
  return fmt::format("{} bytes of {} from {}", message.data.bytes(), name_of(message.data.dtype()),
                     group.name(message.peer));
}

std::string describe_unresponsive(const Roster& group, int rank, CallLabel label, std::span<const Message> sends,
                                  std::span<const Message> receives, double seconds) {
  const std::set<int> sources = peers_of(receives);
  std::vector<Message> others;  // sends to ranks from which nothing is expected
  for (const Message& send : sends)
    if (!sources.contains(send.peer)) others.push_back(send);
  std::set<int> all = sources, targets = peers_of(others);
  all.insert(targets.begin(), targets.end());
  const auto names = [&](const std::set<int>& peers) { return group.names({peers.begin(), peers.end()}); };
  const auto it = [&](const std::set<int>& peers) {
    return peers.size() < all.size() ? names(peers) : peers.size() == 1 ? "it" : "them";
  };
  std::string text;
  if (!receives.empty()) text = amount_of(receives) + " from " + it(sources);
  if (!others.empty()) text += (text.empty() ? "" : " and ") + amount_of(others) + " to " + it(targets);
  return fmt::format("{} {} not answered {} for {:.1f} s: {} in {}", names(all), all.size() == 1 ? "has" : "have",
                     group.name(rank), seconds, text, describe(label));
}

std::string describe(CallLabel label) {
  return fmt::format("{} (operation {})", name_of(label.collective), label.sequence);
}

}  // namespace ropewalk
