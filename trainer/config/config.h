// The configuration as the trainer uses it: resolved, checked, free of protobuf. configs/ropewalk.proto describes the
// meaning, unit and default of every field under the same name; trainer/config/ reads and checks the text.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "kernels/make_kernels.h"
#include "parallel/communicator/make_communicator.h"
#include "parallel/mesh.h"

namespace ropewalk {

struct LayerKind {
  enum class Mask { kFull, kSliding };
  enum class Position { kNone, kRope };
  enum class QkNorm { kOff, kLayerNorm };
  Mask mask = Mask::kFull;
  int64_t window = 0;  // with kSliding
  Position position = Position::kNone;
  double theta = 0;  // with kRope
  QkNorm qk_norm = QkNorm::kOff;
  bool operator==(const LayerKind&) const = default;
};

struct ModelConfig {
  std::vector<LayerKind> layers;  // one entry per layer: model.pattern, repeated
  int64_t width = 0, hidden = 0, query_heads = 0, key_heads = 0, head_size = 0, vocabulary = 0;
  double norm_epsilon = 1e-5, logit_scale = 1.0, initializer_range = 0.02;
};

enum class LongSamples { kRefuse, kDrop, kCut };

struct DataConfig {
  std::string tokenizer = {};  // empty: the one that the data remember; "none": no text
  double validation_fraction = 0.05;
  uint64_t seed = 1234;
  LongSamples long_samples = LongSamples::kRefuse;
};

struct DataSource {
  std::string prefix = {};
  double weight = 1;
  bool operator==(const DataSource&) const = default;
};

// A stage of the run, with all fields resolved. The groups `data` and `training` of the configuration give the first
// stage, training.stages the later ones.
struct Stage {
  int64_t first_step = 0;
  std::string prefix = {};             // of the data; empty with a blend
  std::vector<DataSource> blend = {};  // the datasets that are mixed, if there are several
  int64_t sequence_length = 0, batch = 1, micro_batch = 1;
  std::optional<double> theta = {};  // of all RoPE layers; absent: each layer has its own
  // Consecutive stages with the same data and sequence_length share one order of samples. This is the first_step of
  // the first of them.
  int64_t order_begin = 0;
};

struct TrainingConfig {
  enum class Schedule { kCosine, kWarmupStableDecay, kConstant };
  enum class Recompute { kNothing, kBlock, kBlockButAttention };
  int64_t steps = 0;
  // At least one. The first begins at step 0, each later one at a later step.
  std::vector<Stage> stages = {Stage()};
  double learning_rate = 3e-4, minimum_rate = 0;
  int64_t warmup_steps = 0, decay_steps = 0;
  Schedule schedule = Schedule::kCosine;
  double beta1 = 0.9, beta2 = 0.95, epsilon = 1e-8, weight_decay = 0.1, clip_norm = 1.0;
  uint64_t seed = 1;
  int64_t loss_chunk = 1024;
  Recompute recompute = Recompute::kNothing;
  std::string start_from = {};  // a checkpoint's directory; empty: the weights are drawn from `seed`
};

struct ParallelConfig {
  MeshShape mesh;  // data_parallel resolved from the number of ranks
  bool sequence_parallel = true;
  BackendKind backend = BackendKind::kCpu;
  bool deterministic = true;
  DeviceTransport device_transport = DeviceTransport::kNccl;
  AttentionForm attention = AttentionForm::kAutomatic;
  int64_t bucket_parameters = 1 << 16;
  double deadline_seconds = 300;
};

struct ValidationConfig {
  int64_t interval = 100, samples = 16, position_ranges = 4;
  int64_t sample_interval = 0, sample_tokens = 200;
  double temperature = 0.8;
  std::string prompt = "\n";
};

struct CheckpointConfig {
  int64_t interval = 500, keep = 3;
};

struct OutputConfig {
  std::string directory;
  int64_t log_interval = 10, trace_steps = 0, trace_after = 2;
  double peak_flops = 0;
};

struct Config {
  ModelConfig model;
  DataConfig data;
  TrainingConfig training;
  ParallelConfig parallel;
  ValidationConfig validation;
  CheckpointConfig checkpoint;
  OutputConfig output;
  std::string resolved_text;  // all fields, as protobuf text that can be loaded again
};

}  // namespace ropewalk
