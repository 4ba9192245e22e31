// Models the time of a step from what the step needs (MeshEstimate) and what the device and its links can do. The
// result is computed from a formula; nothing is measured.
//
// Symbols: S tokens per sequence; P = context_parallel; C = S / (2P), tokens of a chunk (a rank holds two); W the
// window of a sliding layer. e_p, e_f, e_s: the fractions of the peak that matrix products (GEMMs), full attention and
// sliding attention reach; e_m: the fraction of the memory bandwidth that memory-bound operations reach (Efficiency,
// devices.h).
//
//   step    = FLOPs of matrix products / (peak * e_p) + FLOPs of full attention / (peak * e_f)
//           + FLOPs of sliding attention / (peak * e_s)
//           + bytes of memory-bound operations / (bandwidth * e_m)
//           + exposed communication
//   exposed = sum over parts of max(0, bytes sent / bandwidth of the link - time of the work that hides the part)
//
// FLOPs and bytes of operations are those of the busiest rank. Bytes sent are, for each axis, those of the rank that
// sends most; for ring and halo, those of the busiest rank.
//
//   part        sent                               hidden by
//   tensor      collectives of tensor parallelism  nothing: the rank waits for each
//   ring        ring attention                     full attention: (P-1)/P of its forward hides the forward's bytes,
//                                                  its backward hides the backward's bytes
//   halo        halo of sliding attention          a chunk's attention to its own keys: the fraction 1 - W/(2C) of
//                                                  sliding attention if W <= C, else C/(2W), averaged over layers
//   gradients   reduce-scatter of gradients        the backward of the last micro-batch. The first bucket (the
//                                                  embedding's) is complete last: nothing hides it
//   weights     all-gather of updated weights      AdamW on the later buckets and the forward of the first micro-batch;
//                                                  the first bucket, which the forward needs at once: AdamW only
//   key_replicas  gradients of KV heads that       nothing
//               several tensor ranks hold
//
// A part uses the link inside a host if each of its groups is on one host, else the link between hosts (ranks are
// numbered tensor fastest, then context, then data). CPU ranks of one host copy the bytes themselves, so nothing hides
// what they send to each other. Not modelled: the few bytes of the groups world and batch, latency of messages and
// kernels, contention of parts for a link, imbalance within a step, reading of data, checkpoints and validation. On
// CPUs, each rank has the copy bandwidth that one rank alone reaches, though the ranks of a host share its memory.
#pragma once

#include <string>
#include <vector>

#include "trainer/run/devices.h"
#include "trainer/run/mesh_estimate.h"

namespace ropewalk {

struct LinkRates {
  double inside = 0, between = 0;  // one-way bandwidth of a rank, bytes/s: within a host, between hosts
  int ranks_per_host = 1;
};

struct StepTime {
  double products = 0, full_attention = 0, sliding_attention = 0, memory = 0;  // seconds
  struct Part {
    std::string name;                  // "tensor", "ring", "halo", "gradients", "weights", "key_replicas"
    bool inside = true;                // true: sent within a host; false: between hosts
    double transfer = 0, exposed = 0;  // seconds
  };
  std::vector<Part> communication;
  double utilization = 0;  // MFU: model FLOPs per rank / (seconds() * peak)

  double computation() const { return products + full_attention + sliding_attention + memory; }
  double exposed() const;
  double seconds() const { return computation() + exposed(); }
};

// Tokens that all ranks together process in a step; for inference, in a forward pass of one micro-batch per data rank.
double tokens_of(const Stage& stage, Purpose purpose, const MeshShape& mesh);

StepTime model_step_time(const MeshEstimate& estimate, const Config& config, const Stage& stage, Purpose purpose,
                         const DeviceModel& device, const LinkRates& links);

}  // namespace ropewalk
