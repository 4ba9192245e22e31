// The zigzag layout: which rank holds which positions of a sequence. S tokens are cut into 2P chunks; rank r holds
// chunks r and 2P-1-r, in that order. Causal work is then equal on all ranks, and the chunk before each chunk lies on a
// neighbouring rank (or on the same rank), so full layers (ring) and sliding layers (halo) share this layout.
//
//     P = 4      chunk   0  1  2  3  4  5  6  7
//                rank    0  1  2  3  3  2  1  0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ropewalk {

// Consecutive positions [begin, end) of a sequence, held by one rank in its rows [local, local + end - begin).
struct Piece {
  int64_t begin, end;
  int64_t local;
  int64_t size() const { return end - begin; }
  bool operator==(const Piece&) const = default;
};

// The pieces of one rank: two, one, or none.
class Pieces {
 public:
  void push_back(const Piece& piece) { pieces_[size_++] = piece; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  const Piece& operator[](size_t i) const { return pieces_[i]; }
  Piece& back() { return pieces_[size_ - 1]; }
  const Piece* begin() const { return pieces_.data(); }
  const Piece* end() const { return pieces_.data() + size_; }

 private:
  std::array<Piece, 2> pieces_{};
  size_t size_ = 0;
};

// A piece and the rank that holds it.
struct HeldPiece {
  int rank;
  Piece piece;
};

// Holds two integers, whatever the number of ranks.
class SequenceLayout {
 public:
  // Any length >= 0; chunks differ by at most one token.
  SequenceLayout(int64_t length, int ranks);

  int64_t length() const { return length_; }
  int ranks() const { return ranks_; }
  // In order of position. Adjacent chunks form one piece (those of rank P-1; with P = 1 the whole sequence), and empty
  // chunks are left out.
  Pieces pieces(int rank) const;
  int64_t local_length(int rank) const;        // T: positions of the sequence that `rank` holds
  int64_t longest_local_length() const;        // the largest T of all ranks
  HeldPiece piece_at(int64_t position) const;  // the piece with this position, 0 <= position < length

 private:
  int chunks() const { return 2 * ranks_; }
  int64_t chunk_begin(int chunk) const { return length_ * chunk / chunks(); }

  int64_t length_;
  int ranks_;
};

}  // namespace ropewalk
