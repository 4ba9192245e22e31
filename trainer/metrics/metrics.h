// The metrics of a step, and their two written forms: a line of metrics.jsonl (one JSON object, so that any program can
// follow a run by this file alone), and TensorBoard scalars. StepMetrics documents the fields; the JSON has the same
// names, and validation_loss, validation_seconds and validation_loss_by_position for ValidationMetrics. A number that
// is not finite is written as the string "nan", "inf" or "-inf", because JSON has no such numbers; a mean over no
// targets is null.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ropewalk {

struct ValidationMetrics {
  std::optional<double> loss;                           // mean over all validation targets, in nats; absent: no targets
  std::vector<std::optional<double>> loss_by_position;  // likewise, for each of n equal ranges of positions
  double seconds = 0;                                   // time that the validation took
};

struct StepMetrics {
  int64_t step = 0;            // optimizer steps done: 1 after the first
  int64_t total_steps = 0;     // of the whole run
  double time = 0;             // when the step ended, in seconds since 1970
  std::optional<double> loss;  // mean over the step's targets, before the update, in nats; absent: no targets
  double gradient_norm = 0;    // global, before clipping
  double learning_rate = 0;
  int64_t sequence_length = 0;        // tokens per sequence
  int64_t tokens = 0;                 // consumed since the first step, over all ranks
  double seconds = 0;                 // of this step: batch and training, without validation, samples, checkpoints
  double tokens_per_second = 0;       // over all ranks
  double model_flops_per_second = 0;  // over all ranks; without masked attention pairs and recomputation
  std::optional<double> model_flops_utilization;    // MFU: fraction of the devices' peak; absent if unknown
  std::map<std::string, int64_t> bytes_sent;        // payload of this step, over all ranks, by axis of the mesh
  int64_t peak_memory_bytes = 0;                    // of host memory: the largest process of any rank so far
  std::optional<int64_t> peak_device_memory_bytes;  // the most that any rank has allocated on its device so far
  double seconds_remaining = 0;                     // estimated, to the end of the run
  std::optional<ValidationMetrics> validation;      // after this step, if there was one
};

// The JSON object of a step: one line, without the newline.
std::string json_line(const StepMetrics& metrics);
// The scalars of a step as (tag, value), for TensorBoard: "train/loss", "throughput/tokens_per_second", ...
std::vector<std::pair<std::string, double>> scalars_of(const StepMetrics& metrics);

}  // namespace ropewalk
