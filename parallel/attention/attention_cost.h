// Counts of what one rank computes and sends in attention, for one sequence that is a single document. The counts are
// those of the ranges of halo_plan.h and of the steps of ring_plan.h, added up. A row has the keys and values, or their
// gradients, of one position.
#pragma once

#include <cstdint>

#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

struct AttentionCost {
  int64_t pairs = 0;               // visible (query, key) pairs of this rank's queries
  int64_t sent_rows = 0;           // rows of keys and values; sent in a forward, and again in a backward
  int64_t sent_gradient_rows = 0;  // rows of gradients of keys and values; sent in a backward
  // Rows of two buffers whose size depends on the rank: the halo, and the gradients that other ranks return for this
  // rank's own rows. 0 for the ring, whose buffers have the same size on every rank (allocate_ring_buffers()).
  int64_t halo_rows = 0, home_rows = 0;
};

AttentionCost ring_cost(const SequenceLayout& layout, int rank);
AttentionCost halo_cost(const SequenceLayout& layout, int rank, int64_t window);

}  // namespace ropewalk
