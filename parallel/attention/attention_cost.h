// What a rank computes and sends in the attention of one sequence of one document, from the schedules alone: closed
// forms of what ring_attention.cpp and halo_attention.cpp do.
#pragma once

#include <cstdint>

#include "parallel/attention/sequence_layout.h"

namespace ropewalk {

struct AttentionCost {
  int64_t pairs = 0;  // visible (query, key) pairs of this rank's queries
  // Rows of keys and values that the rank sends in a forward, and again in a backward; rows of their gradients that it
  // sends in a backward.
  int64_t sent_rows = 0, sent_gradient_rows = 0;
  // Rows of other pieces that it holds meanwhile, of the gradients that come home from them. Ring: none, because all
  // ranks hold blocks of the same size.
  int64_t halo_rows = 0, home_rows = 0;
};

AttentionCost ring_cost(const SequenceLayout& layout, int rank);
AttentionCost halo_cost(const SequenceLayout& layout, int rank, int64_t window);

}  // namespace ropewalk
