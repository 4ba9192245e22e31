#include "trainer/data/packing_plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <numeric>

#include "kernels/error.h"

namespace ropewalk {
namespace {

constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

// Sequences that are not full, by their free positions. Among equals, the one that was added last is taken.
class OpenSequences {
 public:
  // The fullest sequence with room for `length`, which is taken out, and its free positions; kNone if there is none.
  std::pair<uint32_t, int64_t> take(int64_t length) {
    const auto found = by_room_.lower_bound(length);
    if (found == by_room_.end()) return {kNone, 0};
    const std::pair<uint32_t, int64_t> out = {found->second.back(), found->first};
    found->second.pop_back();
    if (found->second.empty()) by_room_.erase(found);
    return out;
  }
  void add(uint32_t sequence, int64_t room) {
    if (room > 0) by_room_[room].push_back(sequence);
  }

 private:
  std::map<int64_t, std::vector<uint32_t>> by_room_;
};

// The documents that are not empty, longest first, equal lengths in order.
std::vector<uint32_t> longest_first(std::span<const int32_t> lengths) {
  std::vector<uint32_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0u);
  std::erase_if(order, [&](uint32_t document) { return lengths[document] == 0; });
  std::ranges::stable_sort(order, std::greater(), [&](uint32_t document) { return lengths[document]; });
  return order;
}

}  // namespace

PackingPlan plan_packing(std::span<const int32_t> lengths, int64_t capacity) {
  CHECK(lengths.size() < kNone, "{} documents", lengths.size());
  std::vector<uint32_t> sequence_of(lengths.size(), kNone);
  std::vector<int64_t> counts;  // documents of each sequence
  OpenSequences open;
  for (const uint32_t document : longest_first(lengths)) {
    const int64_t length = lengths[document];
    CHECK(length > 0 && length <= capacity, "document {} of {} tokens in sequences of {}", document, length, capacity);
    auto [sequence, room] = open.take(length);
    if (sequence == kNone) {
      sequence = static_cast<uint32_t>(counts.size());
      room = capacity;
      counts.push_back(0);
    }
    sequence_of[document] = sequence;
    ++counts[sequence];
    open.add(sequence, room - length);
  }

  PackingPlan plan;
  for (const int64_t count : counts) plan.begin.push_back(plan.begin.back() + count);
  plan.documents.resize(static_cast<size_t>(plan.begin.back()));
  std::vector<int64_t> next(plan.begin.begin(), plan.begin.end() - 1);
  for (size_t document = 0; document < lengths.size(); ++document)
    if (const uint32_t sequence = sequence_of[document]; sequence != kNone)
      plan.documents[static_cast<size_t>(next[sequence]++)] = static_cast<uint32_t>(document);
  return plan;
}

}  // namespace ropewalk
