// A model of how long a step takes, from what it needs (MeshEstimate) and what a device and its links can do. It is a
// formula, not a measurement:
//
//   step    = products / (peak e_p) + full / (peak e_f) + sliding / (peak e_s)      arithmetic of the busiest rank
//           + bytes of operations that memory bounds / (bandwidth e_m)
//           + exposed communication
//   exposed = sum over parts of max(0, sent bytes / link - what hides the part)
//
//   part             hidden by
//   tensor, others   nothing: a rank waits for each
//   ring             attention of full layers: (P-1)/P of the forward, all of the backward
//   halo             attention of sliding layers to a chunk's own keys: 1 - W/2C of it for windows W up to a chunk C,
//                    C/2W for longer ones
//   gradients        the backward of the last micro-batch; the bucket that is complete last (the embedding's): nothing
//   weights          AdamW on the other buckets, the forward of the first micro-batch; the first bucket: AdamW alone
//
// A part takes the link inside a host where the group's ranks are on one host (ranks are numbered tensor fastest, then
// context, then data), else the one between hosts. CPU ranks of one host copy the bytes themselves, so nothing hides
// what they send. The e are the fractions that kernels reach (devices.h). Not in the model: latency of messages
// and kernels, contention of parts for a link, imbalance within a step, input, checkpoints and validation.
#pragma once

#include <string>
#include <vector>

#include "trainer/run/devices.h"
#include "trainer/run/mesh_estimate.h"

namespace ropewalk {

struct LinkRates {
  double inside = 0, between = 0;  // bytes/s of a rank, one direction: in a host, between hosts
  int ranks_per_host = 1;
};

struct StepTime {
  double products = 0, full_attention = 0, sliding_attention = 0, memory = 0;  // seconds
  struct Part {
    std::string name;                  // "tensor", "ring", "halo", "gradients", "weights", "others"
    bool inside = true;                // of a host
    double transfer = 0, exposed = 0;  // seconds
  };
  std::vector<Part> communication;
  double utilization = 0;  // MFU: the model's own arithmetic of the mean rank / (seconds() peak)

  double computation() const { return products + full_attention + sliding_attention + memory; }
  double exposed() const;
  double seconds() const { return computation() + exposed(); }
};

StepTime model_step_time(const MeshEstimate& estimate, const Config& config, const Stage& stage, Purpose purpose,
                         const DeviceModel& device, const LinkRates& links);

}  // namespace ropewalk
