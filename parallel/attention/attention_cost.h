// What a rank computes and sends in the attention of one sequence of one document, without running it: for the ring by
// formulas, for the halo from its plan (halo_plan.h).
#pragma once

#include <cstdint>

#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

struct AttentionCost {
  int64_t pairs = 0;               // visible (query, key) pairs of this rank's queries
  int64_t sent_rows = 0;           // of keys and values, in a forward and again in a backward
  int64_t sent_gradient_rows = 0;  // of their gradients, in a backward
  // Rows of two buffers whose size depends on the rank: the halo, and the gradients that other ranks return for this
  // rank's own rows. 0 for the ring, whose buffers have the same size on every rank (allocate_ring_buffers()).
  int64_t halo_rows = 0, home_rows = 0;
};

AttentionCost ring_cost(const SequenceLayout& layout, int rank);
AttentionCost halo_cost(const SequenceLayout& layout, int rank, int64_t window);

}  // namespace ropewalk
