#include "parallel/attention/attention_cost.h"

#include <algorithm>

#include "kernels/flops.h"

namespace ropewalk {
namespace {

int64_t pairs_of(const SequenceLayout& layout, int rank, std::optional<int64_t> window) {
  int64_t pairs = 0;
  for (const Piece& piece : layout.pieces(rank))
    pairs += visible_pairs(piece.size(), piece.end, AttentionSpan{piece.begin, 0, window, Tensor()});
  return pairs;
}

}  // namespace

AttentionCost ring_cost(const SequenceLayout& layout, int rank) {
  AttentionCost cost{.pairs = pairs_of(layout, rank, std::nullopt)};
  if (layout.ranks() == 1) return cost;
  cost.sent_rows = layout.length() - layout.local_length((rank + 1) % layout.ranks());
  cost.sent_gradient_rows = layout.length() - layout.local_length(rank);
  return cost;
}

// Equals the sums over HaloPlan's ranges. A piece sends the rows that the windows of later pieces reach back to.
AttentionCost halo_cost(const SequenceLayout& layout, int rank, int64_t window) {
  AttentionCost cost{.pairs = pairs_of(layout, rank, window)};
  int64_t copied = 0;
  for (const Piece& own : layout.pieces(rank)) {
    cost.halo_rows += std::min(own.begin, window - 1);
    for (int64_t position = own.end; position < std::min(layout.length(), own.end + window - 1);) {
      const HeldPiece later = layout.piece_at(position);
      position = later.piece.end;
      const int64_t rows = own.end - std::max(own.begin, later.piece.begin - (window - 1));
      (later.rank == rank ? copied : cost.sent_rows) += rows;
    }
  }
  cost.sent_gradient_rows = cost.halo_rows - copied;
  cost.home_rows = cost.sent_rows;
  return cost;
}

}  // namespace ropewalk
