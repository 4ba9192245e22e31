#include "trainer/tokenizer/merges.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <queue>

namespace ropewalk {

MergeTable::MergeTable(const std::vector<Merge>& merges) {
  const size_t size = std::bit_ceil(2 * merges.size() + 2);
  slots_.resize(size);
  mask_ = size - 1;
  shift_ = 64 - std::countr_zero(size);
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const uint64_t key = key_of(merges[rank].left, merges[rank].right);
    size_t slot = slot_of(key);
    while (slots_[slot].key != kEmpty) slot = (slot + 1) & mask_;
    slots_[slot] = {key, {static_cast<int32_t>(rank), merges[rank].merged}};
  }
}

void BytePairEncoding::encode(std::string_view piece, std::vector<int32_t>& ids) const {
  if (!whole_tokens_.empty()) {
    if (const auto whole = whole_tokens_.find(std::string(piece)); whole != whole_tokens_.end())
      return ids.push_back(whole->second);
  }
  constexpr size_t kShort = 48;  // up to here, a scan of all pairs is faster than a heap
  if (piece.size() <= kShort) {
    encode_short(piece, ids);
  } else {
    encode_long(piece, ids);
  }
}

// The symbols are the end of `ids`.
void BytePairEncoding::encode_short(std::string_view piece, std::vector<int32_t>& ids) const {
  const size_t first = ids.size();
  for (const char byte : piece) ids.push_back(byte_ids_[static_cast<uint8_t>(byte)]);
  std::array<MergeTable::Found, 64> pairs;  // pairs[i]: symbols i and i + 1
  size_t count = piece.size();
  int32_t* const symbols = ids.data() + first;
  for (size_t i = 0; i + 1 < count; ++i) pairs[i] = table_.find(symbols[i], symbols[i + 1]);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (pairs[i].rank < pairs[best].rank) best = i;
    if (pairs[best].rank == MergeTable::kNever) break;
    symbols[best] = pairs[best].merged;
    std::copy(symbols + best + 2, symbols + count, symbols + best + 1);
    std::copy(pairs.data() + best + 1, pairs.data() + count - 1, pairs.data() + best);
    --count;
    if (best > 0) pairs[best - 1] = table_.find(symbols[best - 1], symbols[best]);
    if (best + 1 < count) pairs[best] = table_.find(symbols[best], symbols[best + 1]);
  }
  ids.resize(first + count);
}

void BytePairEncoding::encode_long(std::string_view piece, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;  // -1: it was merged into an earlier one
    int64_t previous, next;
  };
  struct Candidate {
    int32_t rank, merged;
    int64_t left;
    bool operator>(const Candidate& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
  };
  const auto size = static_cast<int64_t>(piece.size());
  std::vector<Symbol> symbols(piece.size());
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> candidates;
  const auto at = [&](int64_t i) -> Symbol& { return symbols[static_cast<size_t>(i)]; };
  const auto consider = [&](int64_t left) {
    if (left < 0 || at(left).next >= size) return;
    const MergeTable::Found found = table_.find(at(left).id, at(at(left).next).id);
    if (found.rank != MergeTable::kNever) candidates.push({found.rank, found.merged, left});
  };
  for (int64_t i = 0; i < size; ++i)
    at(i) = {byte_ids_[static_cast<uint8_t>(piece[static_cast<size_t>(i)])], i - 1, i + 1};
  for (int64_t i = 0; i < size; ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = at(best.left);
    if (left.id < 0 || left.next >= size) continue;
    // The pair may have become another one since.
    Symbol& right = at(left.next);
    const MergeTable::Found found = table_.find(left.id, right.id);
    if (found.rank != best.rank) continue;
    left.id = best.merged;
    right.id = -1;
    left.next = right.next;
    if (left.next < size) at(left.next).previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (const Symbol& symbol : symbols)
    if (symbol.id >= 0) ids.push_back(symbol.id);
}

namespace {

template <typename Word>
uint64_t load(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

}  // namespace

// Words that overlap are read instead of single bytes.
PieceCache::Key::Key(std::string_view piece) {
  const char* const begin = piece.data();
  const char* const end = begin + piece.size();
  if (piece.size() > 16) {
    words = {load<uint64_t>(begin), load<uint64_t>(begin + 8), load<uint64_t>(end - 16), load<uint64_t>(end - 8)};
  } else if (piece.size() > 8) {
    words = {load<uint64_t>(begin), load<uint64_t>(end - 8)};
  } else if (piece.size() >= 4) {
    words = {load<uint32_t>(begin) | load<uint32_t>(end - 4) << 32};
  } else {
    words = {load<uint8_t>(begin) | load<uint8_t>(begin + piece.size() / 2) << 8 | load<uint8_t>(end - 1) << 16};
  }
}

uint64_t PieceCache::Key::hash() const {
  const uint64_t mixed =
      (words[0] ^ std::rotl(words[1], 21) ^ std::rotl(words[2], 42) ^ words[3] * 0xff51afd7ed558ccdu) *
      0x9e3779b97f4a7c15u;
  return (mixed ^ mixed >> 29) * 0xbf58476d1ce4e5b9u;
}

void PieceCache::encode(const BytePairEncoding& encoding, std::span<const std::string_view> pieces,
                        std::vector<int32_t>& ids) {
  out_.clear();
  for (const std::string_view piece : pieces) {
    if (piece.size() > kMostBytes) {
      encoding.encode(piece, out_);
      continue;
    }
    const Key key(piece);
    Entry& entry = entries_[key.hash() >> shift_];
    if (entry.bytes != piece.size() || entry.key != key) {
      encode_new(encoding, piece, entry, key);
      continue;
    }
    // Copies all that an entry may have, which is faster than its exact number.
    const size_t size = out_.size();
    out_.resize(size + kMostIds);
    std::copy_n(entry.ids.begin(), kMostIds, out_.begin() + static_cast<std::ptrdiff_t>(size));
    out_.resize(size + entry.count);
  }
  ids.insert(ids.end(), out_.begin(), out_.end());
}

void PieceCache::encode_new(const BytePairEncoding& encoding, std::string_view piece, Entry& entry, const Key& key) {
  const size_t first = out_.size();
  encoding.encode(piece, out_);
  const size_t count = out_.size() - first;
  if (count > kMostIds) return;
  if (++filled_ > entries_.size() && entries_.size() < kMost) return grow();
  entry.key = key;
  entry.bytes = static_cast<uint16_t>(piece.size());
  entry.count = static_cast<uint16_t>(count);
  std::copy_n(out_.begin() + static_cast<std::ptrdiff_t>(first), count, entry.ids.begin());
}

void PieceCache::grow() {
  entries_.assign(4 * entries_.size(), {});
  shift_ -= 2;
  filled_ = 0;
}

}  // namespace ropewalk
