// Byte-pair encoding (arXiv 1508.07909) of one pre-token: its bytes become symbols, and of all pairs of neighbours that
// can be merged, the one that was learnt first is merged, the leftmost if it occurs several times, until there is none.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ropewalk {

struct Merge {
  int32_t left, right;  // ids
  int32_t merged;       // the id of the two together
};

class MergeTable {
 public:
  // merges: in the order in which they were learnt; no pair is in it twice.
  explicit MergeTable(const std::vector<Merge>& merges);

  static constexpr int32_t kNever = INT32_MAX;
  struct Found {
    int32_t rank = kNever;  // kNever: the pair is not merged
    int32_t merged = 0;
  };
  Found find(int32_t left, int32_t right) const {
    const uint64_t key = key_of(left, right);
    for (size_t slot = slot_of(key);; slot = (slot + 1) & mask_) {
      if (slots_[slot].key == key) return slots_[slot].found;
      if (slots_[slot].key == kEmpty) return {};
    }
  }

 private:
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  static uint64_t key_of(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }
  size_t slot_of(uint64_t key) const { return (key * 0x9e3779b97f4a7c15u) >> shift_; }

  struct Slot {
    uint64_t key = kEmpty;
    Found found;
  };
  std::vector<Slot> slots_;  // open addressing, at most half full
  size_t mask_;
  int shift_;
};

class BytePairEncoding {
 public:
  // byte_ids: of the 256 bytes alone. whole_tokens: a pre-token that is in it becomes its id without merges
  // (ignore_merges); usually empty.
  BytePairEncoding(const std::array<int32_t, 256>& byte_ids, const std::vector<Merge>& merges,
                   std::unordered_map<std::string, int32_t> whole_tokens)
      : byte_ids_(byte_ids), table_(merges), whole_tokens_(std::move(whole_tokens)) {}

  // Appends the ids of a pre-token. Takes n log n steps for n bytes.
  void encode(std::string_view piece, std::vector<int32_t>& ids) const;

 private:
  void encode_short(std::string_view piece, std::vector<int32_t>& ids) const;
  void encode_long(std::string_view piece, std::vector<int32_t>& ids) const;

  std::array<int32_t, 256> byte_ids_;
  MergeTable table_;
  std::unordered_map<std::string, int32_t> whole_tokens_;
};

// The ids of pre-tokens that came before: most words of a text do. For one thread.
class PieceCache {
 public:
  PieceCache() : entries_(kFewest) {}
  // Appends the ids of consecutive pre-tokens.
  void encode(const BytePairEncoding& encoding, std::span<const std::string_view> pieces, std::vector<int32_t>& ids);

 private:
  static constexpr size_t kFewest = 256, kMost = 65536;  // entries; powers of two
  static constexpr size_t kMostBytes = 32, kMostIds = 7;
  // The bytes of a piece in four words; with the length, they tell any two pieces apart.
  struct Key {
    std::array<uint64_t, 4> words{};
    explicit Key(std::string_view piece);  // of 1 to kMostBytes bytes
    Key() = default;
    bool operator==(const Key&) const = default;
    uint64_t hash() const;
  };
  // Fills one line of the processor's cache.
  struct alignas(64) Entry {
    Key key;
    uint16_t bytes = 0, count = 0;
    std::array<int32_t, kMostIds> ids{};
  };
  void encode_new(const BytePairEncoding& encoding, std::string_view piece, Entry& entry, const Key& key);
  void grow();

  std::vector<Entry> entries_;  // by hash; a newer piece replaces an older one
  size_t filled_ = 0;           // how often an entry was, at this size
  int shift_ = 64 - 8;          // from a hash to the number of an entry
  std::vector<int32_t> out_;    // ids of a call
};

}  // namespace ropewalk
