// What all ranks of a mesh will need for a step: the fullest, the busiest, and what they send together.
//
// Every number is that of estimate_step on some rank or a sum of such numbers over all ranks, but not every rank is
// counted by itself, so that a mesh of thousands takes no longer than one of ten. Ranks that hold as many tokens and as
// many weights do the same outside attention, and all ranks of a group make the same collective calls. What attention
// sends and computes follows from each rank's place (parallel/attention/attention_cost.h). Memory grows with a rank's
// tokens and halo, so only ranks of which no other has more of both are counted.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/run/estimate.h"

namespace ropewalk {

// What a rank computes and sends for attention in a step.
struct AttentionWork {
  Flops flops;
  FlopCount full_forward = 0;                   // of flops.full_attention: in forwards
  int64_t ring_forward = 0, ring_backward = 0;  // bytes sent on the ring
  int64_t halo = 0;                             // bytes sent of halos and their gradients
  int64_t bytes_sent() const { return ring_forward + ring_backward + halo; }
};

struct MeshEstimate {
  int fullest_rank = 0;  // a rank whose process needs most memory
  StepEstimate fullest;
  int busiest_rank = 0;  // the first rank with most arithmetic
  StepEstimate busiest;
  AttentionWork busiest_attention;
  struct Sent {
    std::string axis;
    int64_t most = 0, all = 0;  // bytes: by the rank that sends most, by all ranks
  };
  std::vector<Sent> bytes_sent;
  double mean_flops = 0;  // of a rank
};

// Throws as estimate_step does.
MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose);

// a needs more memory than b. Where both need the same in all: the one with more tokens, activations, working memory.
bool is_fuller(const StepEstimate& a, const StepEstimate& b);

}  // namespace ropewalk
