#include "parallel/attention/attention_cost.h"

#include "kernels/flops.h"
#include "parallel/attention/halo_plan.h"

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

AttentionCost halo_cost(const SequenceLayout& layout, int rank, int64_t window) {
  const HaloPlan plan = make_halo_plan(layout, rank, window, {});
  return {.pairs = pairs_of(layout, rank, window),
          .sent_rows = plan.sent_rows(),
          .sent_gradient_rows = plan.received_rows(),
          .halo_rows = plan.halo_rows,
          .home_rows = plan.sent_rows()};
}

}  // namespace ropewalk
