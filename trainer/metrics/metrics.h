// What is known of a step, and how it is written: as a line of metrics.jsonl, one JSON object, so that any program can
// follow a run by this file alone, and as TensorBoard's scalars. The fields are described at StepMetrics; the JSON has
// the same names. A number that is not finite is written as the string "nan", "inf" or "-inf", because JSON has no such
// numbers; the mean of nothing is null.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ropewalk {

struct ValidationMetrics {
  std::optional<double> loss;  // mean over all validation targets, in nats; absent: there were none
  std::vector<std::optional<double>> loss_by_position;  // over each of n equal ranges of positions in the sequence
  double seconds = 0;                                   // that the validation took
};

struct StepMetrics {
  int64_t step = 0;            // optimizer steps done: 1 after the first
  int64_t total_steps = 0;     // of the whole run
  double time = 0;             // when the step ended, in seconds since 1970
  std::optional<double> loss;  // mean over the step's targets, before the update, in nats; absent: it had none
  double gradient_norm = 0;    // global, before clipping
  double learning_rate = 0;
  int64_t sequence_length = 0;        // tokens of each of its sequences
  int64_t tokens = 0;                 // consumed since the first step, over all ranks
  double seconds = 0;                 // of this step: reading its batch, training; not validation, samples, checkpoints
  double tokens_per_second = 0;       // over all ranks
  double model_flops_per_second = 0;  // over all ranks; visible attention pairs only, recomputation not counted
  std::optional<double> model_flops_utilization;    // of the devices' peak, where that is known
  std::map<std::string, int64_t> bytes_sent;        // in this step, over all ranks, by axis of the mesh
  int64_t peak_memory_bytes = 0;                    // highest of all ranks' processes so far
  std::optional<int64_t> peak_device_memory_bytes;  // highest of all ranks' devices so far
  double seconds_remaining = 0;                     // estimate, to the end of the run
  std::optional<ValidationMetrics> validation;      // after this step, where there was one
};

// The object written for a step: one line, without the newline.
std::string json_line(const StepMetrics& metrics);
// The numbers of a step as (tag, value), for TensorBoard: "train/loss", "throughput/tokens_per_second", ...
std::vector<std::pair<std::string, double>> scalars_of(const StepMetrics& metrics);

}  // namespace ropewalk
