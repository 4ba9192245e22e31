// Estimates a step on all ranks of a mesh: the rank that needs most memory, the rank with most FLOPs, and the bytes
// that the ranks send.
//
// The numbers are exactly those of estimate_step() on every rank. But only some ranks are estimated, so a mesh of
// thousands of ranks takes no longer than a mesh of ten:
// - Ranks with equal numbers of tokens and of weights do the same work outside attention. One rank per class is enough.
// - All ranks of a group make the same collective calls.
// - What attention sends and computes follows from the rank's place (parallel/attention/attention_cost.h).
// - Memory grows with a rank's tokens and halo. A rank is skipped if another rank of its class has a halo at least as
// large.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "trainer/run/estimate.h"

namespace ropewalk {

// What attention on one rank computes and sends in a step.
struct AttentionWork {
  Flops flops;
  FlopCount full_forward = 0;                   // the part of flops.full_attention in forward passes
  int64_t ring_forward = 0, ring_backward = 0;  // bytes sent by ring attention
  int64_t halo = 0;                             // bytes sent: halos and their gradients
  int64_t bytes_sent() const { return ring_forward + ring_backward + halo; }
};

struct MeshEstimate {
  int fullest_rank = 0;  // a rank whose process needs the most memory
  StepEstimate fullest;
  int busiest_rank = 0;  // the first rank with the most FLOPs
  StepEstimate busiest;
  AttentionWork busiest_attention;
  struct Sent {
    std::string axis;
    int64_t most = 0, all = 0;  // bytes: of the rank that sends most, of all ranks together
  };
  std::vector<Sent> bytes_sent;
  double mean_flops = 0;  // mean over all ranks
};

// Throws ConfigurationError if the mesh is invalid, as estimate_step() does.
MeshEstimate estimate_mesh(const Config& config, const Stage& stage, Purpose purpose);

// True if `a` needs more memory than `b`. If the totals are equal, compares tokens, then activations, working memory
// and weights.
bool is_fuller(const StepEstimate& a, const StepEstimate& b);

}  // namespace ropewalk
