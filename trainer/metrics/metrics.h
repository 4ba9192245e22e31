// What is known of a step, and metrics.jsonl: one JSON object a line, a line a step, so that any program can follow a
// run by this file alone. The fields are described at StepMetrics; the JSON has the same names. A number that is not
// finite is written as the string "nan", "inf" or "-inf", because JSON has no such numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "trainer/metrics/append_file.h"

namespace ropewalk {

struct ValidationMetrics {
  double loss = 0;                       // mean over all validation targets, in nats
  std::vector<double> loss_by_position;  // mean over each of n equal ranges of positions in the sequence
  double seconds = 0;                    // that the validation took
};

struct StepMetrics {
  int64_t step = 0;          // optimizer steps done: 1 after the first
  int64_t total_steps = 0;   // of the whole run
  double time = 0;           // when the step ended, in seconds since 1970
  double loss = 0;           // mean over the step's targets, before the update, in nats
  double gradient_norm = 0;  // global, before clipping
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

class MetricsFile {
 public:
  // Goes on after step `resumed_step` (0: a run from its start): lines of later steps, which an interrupted run left
  // behind, and a half-written last line are cut off. A run that starts where another one was keeps what that one
  // measured, as PATH.1, PATH.2, ...; see kept(). Throws ConfigurationError when the file cannot be opened, DataError
  // when an earlier line is not one of ours.
  MetricsFile(const std::filesystem::path& path, int64_t resumed_step);

  const std::filesystem::path& kept() const { return kept_; }  // empty: nothing was

  // Appends a whole line, visible to readers at once. Throws DataError (a full disk); then the file ends with the line
  // before.
  void write(const StepMetrics& metrics);

 private:
  void cut_after(int64_t step);
  static std::filesystem::path keep_lines(const std::filesystem::path& path);

  std::filesystem::path kept_;
  AppendFile file_;
};

}  // namespace ropewalk
