#include "parallel/host_communicator.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "parallel/operands.h"
#include "parallel/ordered_reduction.h"

namespace ropewalk {
namespace {

// A reduction proceeds in segments, the next in flight while this one is added, so that its scratch is bounded.
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

std::unique_ptr<Exchange> HostCommunicator::start_exchange(std::span<const Message> sends,
                                                           std::span<const Message> receives) {
  return exchange(next(Operation::kExchange), sends, receives);
}

// Messages to this rank itself are copied here; a transport sees only the others.
std::unique_ptr<Exchange> HostCommunicator::exchange(OperationLabel label, std::span<const Message> sends,
                                                     std::span<const Message> receives) {
  std::vector<Message> to_self, from_self, sends_out, receives_in;
  const auto sort = [&](std::span<const Message> messages, std::vector<Message>& self, std::vector<Message>& others) {
    for (const Message& message : messages) {
      check_peer(message.peer, *this);
      check_on_host(message.data, label.operation);
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
  if (sends_out.empty() && receives_in.empty()) return std::make_unique<FinishedExchange>();
  return post(label, sends_out, receives_in);
}

void HostCommunicator::all_reduce(const Tensor& x, Reduction reduction) {
  check_on_host(x, Operation::kAllReduce);
  const OperationLabel label = next(Operation::kAllReduce);
  const Tensor flat = x.flat();
  const Partition cut = Partition::even(flat.elements(), size_);
  const Tensor mine = flat.slice(cut.begin(rank_), cut.end(rank_));
  reduce_scatter_flat(label, flat, cut, mine, reduction);
  all_gather_flat(label, mine, cut, flat);
}

void HostCommunicator::reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) {
  check_on_host(all, Operation::kReduceScatter);
  check_parts(Operation::kReduceScatter, all, rows, mine, *this);
  reduce_scatter_flat(next(Operation::kReduceScatter), all.flat(), in_elements(rows, all), mine.flat(),
                      Reduction::kSum);
}

void HostCommunicator::all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) {
  check_on_host(all, Operation::kAllGather);
  check_parts(Operation::kAllGather, all, rows, mine, *this);
  all_gather_flat(next(Operation::kAllGather), mine.flat(), in_elements(rows, all), all.flat());
}

void HostCommunicator::reduce_scatter_flat(OperationLabel label, const Tensor& all, const Partition& cut,
                                           const Tensor& mine, Reduction reduction) {
  check_reduced(all);
  if (size_ == 1) return copy(all, mine);
  int64_t largest_part = 0;
  for (int part = 0; part < size_; ++part) largest_part = std::max(largest_part, cut.size(part));
  if (largest_part == 0) return;
  const int64_t others = size_ - 1;
  const int64_t segment_bytes = std::clamp(kScratchBytes / (2 * others), kSmallestSegmentBytes, kLargestSegmentBytes);
  const int64_t segment = std::min(segment_bytes / size_of(all.dtype()), largest_part);
  const int64_t rounds = (largest_part + segment - 1) / segment;

  // Round k moves the k-th segment of every part, into one of two halves of the scratch.
  std::byte* const halves = scratch(2 * others * segment * size_of(all.dtype()));
  const auto segment_of = [&](int part, int64_t round) {
    const int64_t begin = std::min(cut.begin(part) + round * segment, cut.end(part));
    return all.slice(begin, std::min(begin + segment, cut.end(part)));
  };
  const auto received = [&](int peer, int64_t round) {
    const int64_t slot = (round % 2) * others + (peer - rank_ + size_) % size_ - 1;
    return Tensor(halves + slot * segment * size_of(all.dtype()), all.dtype(), Device{},
                  segment_of(rank_, round).shape());
  };
  const auto start = [&](int64_t round) {
    sends_.clear();
    receives_.clear();
    for (int step = 1; step < size_; ++step) {  // staggered, so that not everyone sends to rank 0 first
      const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
      if (const Tensor theirs = segment_of(to, round); theirs.elements() > 0) sends_.push_back({to, theirs});
      if (const Tensor ours = received(from, round); ours.elements() > 0) receives_.push_back({from, ours});
    }
    return exchange(label, sends_, receives_);
  };

  std::vector<const void*> inputs(static_cast<size_t>(size_));
  std::unique_ptr<Exchange> current = start(0);
  for (int64_t round = 0; round < rounds; ++round) {
    std::unique_ptr<Exchange> following = round + 1 < rounds ? start(round + 1) : nullptr;
    current->wait();
    const Tensor own = segment_of(rank_, round);
    for (int peer = 0; peer < size_; ++peer) {
      inputs[static_cast<size_t>(peer)] = peer == rank_ ? own.raw() : received(peer, round).raw();
    }
    const int64_t begin = std::min(round * segment, mine.elements());
    reduce_in_rank_order(inputs, own.elements(), all.dtype(), reduction,
                         mine.slice(begin, begin + own.elements()).raw());
    current = std::move(following);
  }
}

void HostCommunicator::all_gather_flat(OperationLabel label, const Tensor& mine, const Partition& cut,
                                       const Tensor& all) {
  copy(mine, all.slice(cut.begin(rank_), cut.end(rank_)));
  if (size_ == 1) return;
  sends_.clear();
  receives_.clear();
  for (int step = 1; step < size_; ++step) {
    const int to = (rank_ + step) % size_, from = (rank_ - step + size_) % size_;
    if (mine.elements() > 0) sends_.push_back({to, mine});
    if (cut.size(from) > 0) receives_.push_back({from, all.slice(cut.begin(from), cut.end(from))});
  }
  exchange(label, sends_, receives_)->wait();
}

// A binomial tree, ranks counted from the root: in the round of distance d = 1, 2, 4, ... ranks [0, d) send to [d, 2d).
void HostCommunicator::broadcast(const Tensor& x, int root) {
  check_on_host(x, Operation::kBroadcast);
  check_root(root, *this);
  const OperationLabel label = next(Operation::kBroadcast);
  const int place = (rank_ - root + size_) % size_;
  int distance = 1;
  while (distance <= place) distance *= 2;
  if (place > 0) {
    const Message from_parent{(place - distance / 2 + root) % size_, x};
    exchange(label, {}, {&from_parent, 1})->wait();
  }
  sends_.clear();
  for (; place + distance < size_; distance *= 2) sends_.push_back({(place + distance + root) % size_, x});
  exchange(label, sends_, {})->wait();
}

// Dissemination: after the round of distance d this rank has heard, directly or not, of the 2d ranks up to itself.
// (Hensgen, Finkel & Manber, "Two algorithms for barrier synchronization", 1988.)
void HostCommunicator::barrier() {
  const OperationLabel label = next(Operation::kBarrier);
  const Tensor nothing(nullptr, DType::kU8, Device{}, {0});
  for (int distance = 1; distance < size_; distance *= 2) {
    const Message to{(rank_ + distance) % size_, nothing};
    const Message from{(rank_ - distance + size_) % size_, nothing};
    exchange(label, {&to, 1}, {&from, 1})->wait();
  }
}

std::unique_ptr<Communicator> HostCommunicator::split(int color, int key) {
  const OperationLabel label = next(Operation::kSplit);
  // In the scratch, which is still there when the exchange has failed.
  auto* const table = reinterpret_cast<int32_t*>(scratch(2 * size_ * size_of(DType::kI32)));
  const Tensor all(table, DType::kI32, Device{}, {2 * size_});
  const Tensor mine = all.slice(2 * rank_, 2 * rank_ + 2);
  mine.data<int32_t>()[0] = color;
  mine.data<int32_t>()[1] = key;
  all_gather_flat(label, mine, Partition::even(2 * size_, size_), all);

  const auto color_of = [&](int rank) { return table[2 * rank]; };
  const auto key_of = [&](int rank) { return table[2 * rank + 1]; };
  std::vector<int> members;
  for (int rank = 0; rank < size_; ++rank) {
    if (color_of(rank) == color) members.push_back(rank);
  }
  std::stable_sort(members.begin(), members.end(), [&](int a, int b) { return key_of(a) < key_of(b); });
  return make_group(label, members);
}

std::byte* HostCommunicator::scratch(int64_t bytes) {
  if (bytes > scratch_bytes_) {
    scratch_ = std::make_unique_for_overwrite<std::byte[]>(static_cast<size_t>(bytes));
    scratch_bytes_ = bytes;
  }
  return scratch_.get();
}

std::string describe_send(const Roster& group, const Message& message) {
  return fmt::format("{} bytes of {} to {}", message.data.bytes(), name_of(message.data.dtype()),
                     group.name(message.peer));
}

std::string describe_receive(const Roster& group, const Message& message) {
  return fmt::format("{} bytes of {} from {}", message.data.bytes(), name_of(message.data.dtype()),
                     group.name(message.peer));
}

std::string describe_silence(const Roster& group, int rank, OperationLabel label, std::span<const Message> sends,
                             std::span<const Message> receives, double seconds) {
  const std::set<int> sources = peers_of(receives);
  std::vector<Message> others;  // sends to ranks from which nothing is awaited
  for (const Message& send : sends)
    if (!sources.contains(send.peer)) others.push_back(send);
  std::set<int> silent = sources, targets = peers_of(others);
  silent.insert(targets.begin(), targets.end());
  const auto names = [&](const std::set<int>& peers) { return group.names({peers.begin(), peers.end()}); };
  const auto it = [&](const std::set<int>& peers) {
    return peers.size() < silent.size() ? names(peers) : peers.size() == 1 ? "it" : "them";
  };
  std::string text;
  if (!receives.empty()) text = amount_of(receives) + " from " + it(sources);
  if (!others.empty()) text += (text.empty() ? "" : " and ") + amount_of(others) + " to " + it(targets);
  return fmt::format("{} {} not answered {} for {:.1f} s: {} in {}", names(silent), silent.size() == 1 ? "has" : "have",
                     group.name(rank), seconds, text, describe(label));
}

std::string describe(OperationLabel label) {
  return fmt::format("{} (operation {})", name_of(label.operation), label.sequence);
}

}  // namespace ropewalk
