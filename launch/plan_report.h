// Prints a plan: memory, FLOPs, bytes sent and modelled time of a step, as text for people and as JSON for scripts.
#pragma once

#include <optional>
#include <string>

#include "launch/plan_options.h"
#include "trainer/run/memory_advice.h"

namespace ropewalk {

// A plan: estimates of all stages, the machine, and advice on settings that reduce memory.
struct PlanReport {
  const Evaluation& plan;
  Purpose purpose = Purpose::kTraining;
  const Machine& machine;
  std::optional<MemoryAdvice> advice = {};
};

// The tables of each stage in turn; after the last one, whether a rank fits, and the advice if there is any.
std::string plan_text(const PlanReport& report);
// One JSON object; numbers are in bytes, FLOP, seconds, FLOP/s and bytes/s:
//
//   mesh          data, context, tensor
//   work          "training step" or "forward pass of one micro-batch"
//   machine       if the device is known: device, source (of its figures), peak_flops, memory_bytes_per_second,
//                 efficiency (products (GEMMs), full_attention, sliding_attention: fraction of the peak that each
//                 reaches; memory: the fraction of the bandwidth that memory-bound operations reach), links
//                 (name_inside: "nvlink", "pcie" or "shm"; inside, between: one-way bandwidth of a rank within a host
//                 and between hosts; ranks_per_host)
//   memory        of a rank: needed, limit (0: unknown), source (of the limit), fits (if the limit is known)
//   stages[]      first_step, sequence_length, batch, micro_batch
//     memory_bytes  of the fullest rank: each kind (weights, gradients, ...), and total. On a GPU, the kinds
//                   sequences, messages and program are in host memory: host_total is their sum, total that of the
//                   other kinds
//     activation_bytes_per_token
//     bytes_sent    by axis: a_rank (the rank that sends most), all_ranks
//     flops         of the busiest rank: products, full_attention, sliding_attention, total; mean: over all ranks;
//                   model: model FLOPs per rank
//     memory_traffic_bytes  bytes that memory-bound operations of the busiest rank read and write
//     time          if the device is known: seconds, mfu, tokens_per_second (all ranks); parts of seconds: products,
//                   full_attention, sliding_attention, memory, exposed (communication); communication[]: name,
//                   inside_a_host, transfer, exposed
//   advice        with --advice, or if a rank does not fit: changes[] (of one setting each), smallest (the
//                 change of fewest settings that fits), with_these_ranks (the same among changes that add no ranks);
//                 the last two are null if none was found. A change has settings[], needed, saved, sent_more,
//                 arithmetic_more (a fraction), ranks_more, fits
std::string plan_json(const PlanReport& report);

// Parts that the report of a search shares.
std::string seconds_text(double seconds);  // "2.41 s", "93.2 ms"
std::string model_note(const Machine& machine, const MeshShape& mesh);

}  // namespace ropewalk
