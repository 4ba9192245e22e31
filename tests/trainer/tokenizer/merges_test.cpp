// Merges against a plain implementation: search all pairs, merge the one of the lowest rank, the leftmost of equal
// ones.
#include "trainer/tokenizer/merges.h"

#include <gtest/gtest.h>

#include <bit>
#include <map>
#include <set>

#include "kernels/random.h"

namespace ropewalk {
namespace {

using Ids = std::vector<int32_t>;

std::array<int32_t, 256> byte_ids() {
  std::array<int32_t, 256> ids{};
  for (size_t byte = 0; byte < ids.size(); ++byte) ids[byte] = static_cast<int32_t>(byte);
  return ids;
}

// `count` merges of random pairs; a token is the bytes 'a' to 'c' or an earlier merge, so that long ones occur.
std::vector<Merge> random_merges(const RandomStream& random, uint64_t first, int32_t count) {
  std::vector<Merge> merges;
  std::set<std::pair<int32_t, int32_t>> pairs;
  for (uint64_t i = first; std::ssize(merges) < count; ++i) {
    const auto token = [&](uint64_t bits) {
      const auto known = static_cast<uint64_t>(3 + std::ssize(merges));
      const auto chosen = static_cast<int32_t>(bits % known);
      return chosen < 3 ? 'a' + chosen : 256 + chosen - 3;
    };
    const int32_t left = token(random.bits(i)[0]), right = token(random.bits(i)[1]);
    if (pairs.emplace(left, right).second)
      merges.push_back({left, right, 256 + static_cast<int32_t>(std::ssize(merges))});
  }
  return merges;
}

Ids plain(std::string_view piece, const std::vector<Merge>& merges) {
  std::map<std::pair<int32_t, int32_t>, size_t> ranks;
  for (size_t rank = 0; rank < merges.size(); ++rank) ranks[{merges[rank].left, merges[rank].right}] = rank;
  Ids ids(piece.begin(), piece.end());
  while (true) {
    size_t best_rank = merges.size(), best = 0;
    for (size_t i = 0; i + 1 < ids.size(); ++i) {
      const auto found = ranks.find({ids[i], ids[i + 1]});
      if (found != ranks.end() && found->second < best_rank) best_rank = found->second, best = i;
    }
    if (best_rank == merges.size()) return ids;
    ids[best] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best) + 1);
  }
}

std::string random_piece(const RandomStream& random, uint64_t first, size_t length) {
  std::string piece;
  for (size_t i = 0; i < length; ++i) piece += static_cast<char>('a' + random.bits(first + i)[0] % 3);
  return piece;
}

// Lengths on both sides of those at which the method changes (48) and the cache ends (32).
TEST(Merges, EqualAPlainImplementationForEveryLength) {
  const RandomStream random(3, "merges"), texts(3, "texts");
  for (uint64_t round = 0; round < 60; ++round) {
    const std::vector<Merge> merges = random_merges(random, 10'000 * round, static_cast<int32_t>(1 + round % 40));
    const BytePairEncoding encoding(byte_ids(), merges, {});
    PieceCache cache;
    for (size_t length = 1; length <= 100; ++length) {
      const std::string piece = random_piece(texts, 1000 * (100 * round + length), length);
      const Ids expected = plain(piece, merges);
      Ids ids = {-7};
      encoding.encode(piece, ids);
      ASSERT_EQ(ids.front(), -7);  // keeps earlier ids
      ids.erase(ids.begin());
      ASSERT_EQ(ids, expected) << piece;
      Ids cached;
      const std::string_view twice[] = {piece, piece};
      cache.encode(encoding, twice, cached);
      ids.insert(ids.end(), expected.begin(), expected.end());
      ASSERT_EQ(cached, ids) << piece;
    }
  }
}

// All pieces of up to 4 bytes, and longer ones that differ in one byte or in length alone: more than the cache holds.
TEST(Merges, TheCacheTellsPiecesApart) {
  const std::vector<Merge> merges = {{'a', 'a', 256}, {256, 256, 257}, {'b', 'a', 258}};
  const BytePairEncoding encoding(byte_ids(), merges, {});
  std::vector<std::string> pieces;
  for (size_t length = 1; length <= 34; ++length) {
    const std::string zeros(length, '\0'), letters(length, 'a');
    pieces.insert(pieces.end(), {zeros, letters});
    for (size_t i = 0; i < length; ++i) {
      pieces.insert(pieces.end(), {zeros, letters});
      pieces[pieces.size() - 2][i] = '\1';
      pieces.back()[i] = 'b';
    }
  }
  for (int i = 0; i < 300'000; ++i) pieces.push_back(std::to_string(i));
  PieceCache cache;
  for (int round = 0; round < 2; ++round) {
    for (const std::string& piece : pieces) {
      Ids expected, ids;
      encoding.encode(piece, expected);
      const std::string_view one[] = {piece};
      cache.encode(encoding, one, ids);
      ASSERT_EQ(ids, expected) << piece;
    }
  }
}

TEST(Merges, AWholeTokenNeedsNoMerges) {
  const std::vector<Merge> merges = {{'a', 'b', 256}};
  const BytePairEncoding encoding(byte_ids(), merges, {{"abc", 300}, {"ab", 256}});
  const std::pair<std::string_view, Ids> cases[] = {{"abc", {300}}, {"ab", {256}}, {"abcd", {256, 'c', 'd'}}};
  for (const auto& [piece, expected] : cases) {
    Ids ids;
    encoding.encode(piece, ids);
    EXPECT_EQ(ids, expected) << piece;
  }
}

// A method that is quadratic takes hours for these.
TEST(Merges, PiecesOfAMillionBytes) {
  std::vector<Merge> merges = {{'a', 'a', 256}};
  for (int32_t id = 256; id < 266; ++id) merges.push_back({id, id, id + 1});  // 2048 letters in the longest
  const BytePairEncoding encoding(byte_ids(), merges, {});
  const size_t length = 1'000'003;
  Ids ids;
  encoding.encode(std::string(length, 'a'), ids);
  ASSERT_EQ(ids.size(), length / 2048 + static_cast<size_t>(std::popcount(length % 2048)));
  ids.clear();
  encoding.encode(std::string(length, 'b'), ids);
  ASSERT_EQ(ids, Ids(length, 'b'));
}

}  // namespace
}  // namespace ropewalk
