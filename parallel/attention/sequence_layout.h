// The zigzag layout: which rank holds which positions of a sequence. S tokens are cut into 2P chunks; rank r holds
// chunks r and 2P-1-r, in that order. Causal work is then equal on all ranks, and the chunk before each chunk lies on a
// neighbouring rank (or on the same rank), so full layers (ring) and sliding layers (halo) share this layout.
//
//     P = 4      chunk   0  1  2  3  4  5  6  7
//                rank    0  1  2  3  3  2  1  0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace ropewalk {

// Consecutive positions [begin, end) of a sequence, held by one rank in its rows [local, local + end - begin).
struct Piece {
  int64_t begin, end;
  int64_t local;
  int64_t size() const { return end - begin; }
  bool operator==(const Piece&) const = default;
};

class SequenceLayout {
 public:
  // Any length >= 0; chunks differ by at most one token.
  SequenceLayout(int64_t length, int ranks);

  int64_t length() const { return length_; }
  int ranks() const { return ranks_; }
  // In order of position. Adjacent chunks form one piece (those of rank P-1; with P = 1 the whole sequence), and empty
  // chunks are left out.
  std::span<const Piece> pieces(int rank) const { return pieces_[static_cast<size_t>(rank)]; }
  int64_t local_length(int rank) const { return local_lengths_[static_cast<size_t>(rank)]; }  // T

 private:
  int64_t length_;
  int ranks_;
  std::vector<std::vector<Piece>> pieces_;
  std::vector<int64_t> local_lengths_;
};

}  // namespace ropewalk
