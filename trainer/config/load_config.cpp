#include "trainer/config/load_config.h"

#include <cerrno>
#include <cstring>
#include <fstream>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/config_text.h"
#include "trainer/config/loss_chunk.h"
#include "trainer/config/precision.h"
#include "trainer/config/problems.h"
#include "trainer/config/validate.h"

namespace ropewalk {

namespace {

constexpr size_t kMostBytes = 16 << 20;  // of a configuration

// Replaces data_parallel 0 by world_size / (context_parallel x tensor_parallel). If that is not a whole number, 0
// stays, and check_config() reports it.
void resolve_data_parallel(proto::Parallel& parallel, std::optional<int> world_size) {
  const int64_t model_ranks = int64_t{1} * parallel.context_parallel() * parallel.tensor_parallel();
  if (parallel.data_parallel() != 0 || model_ranks < 1) return;
  if (!world_size)
    parallel.set_data_parallel(1);
  else if (*world_size % model_ranks == 0)
    parallel.set_data_parallel(static_cast<int32_t>(*world_size / model_ranks));
}

LayerKind layer_kind(const proto::Layer& layer) {
  using Kind = LayerKind;
  return {.mask = layer.mask() == proto::SLIDING ? Kind::Mask::kSliding : Kind::Mask::kFull,
          .window = layer.window(),
          .position = layer.position() == proto::ROPE ? Kind::Position::kRope : Kind::Position::kNone,
          .theta = layer.theta(),
          .qk_norm = layer.qk_norm() == proto::LAYER_NORM ? Kind::QkNorm::kLayerNorm : Kind::QkNorm::kOff};
}

ModelConfig model_config(const proto::Model& model) {
  ModelConfig out{.layers = {},
                  .width = model.width(),
                  .hidden = model.hidden(),
                  .query_heads = model.query_heads(),
                  .key_heads = model.key_heads(),
                  .head_size = model.head_size(),
                  .vocabulary = model.vocabulary(),
                  .norm_epsilon = model.norm_epsilon(),
                  .logit_scale = model.logit_scale(),
                  .initializer_range = model.initializer_range()};
  for (int64_t i = 0; i < model.layers(); ++i)
    out.layers.push_back(layer_kind(model.pattern(static_cast<int>(i % model.pattern_size()))));
  return out;
}

TrainingConfig::Schedule schedule_of(proto::Schedule schedule) {
  switch (schedule) {
    case proto::COSINE:
      return TrainingConfig::Schedule::kCosine;
    case proto::WARMUP_STABLE_DECAY:
      return TrainingConfig::Schedule::kWarmupStableDecay;
    case proto::CONSTANT:
      return TrainingConfig::Schedule::kConstant;
  }
  CHECK(false, "schedule {}", static_cast<int>(schedule));
  return {};
}

TrainingConfig::Recompute recompute_of(proto::Recompute recompute) {
  switch (recompute) {
    case proto::NOTHING:
      return TrainingConfig::Recompute::kNothing;
    case proto::BLOCK:
      return TrainingConfig::Recompute::kBlock;
    case proto::BLOCK_BUT_ATTENTION:
      return TrainingConfig::Recompute::kBlockButAttention;
  }
  CHECK(false, "recompute {}", static_cast<int>(recompute));
  return {};
}

LongSamples long_samples_of(proto::LongSamples choice) {
  switch (choice) {
    case proto::REFUSE:
      return LongSamples::kRefuse;
    case proto::DROP:
      return LongSamples::kDrop;
    case proto::CUT:
      return LongSamples::kCut;
  }
  CHECK(false, "long_samples {}", static_cast<int>(choice));
  return {};
}

std::vector<DataSource> blend_of(const google::protobuf::RepeatedPtrField<proto::BlendEntry>& entries) {
  std::vector<DataSource> blend;
  for (const proto::BlendEntry& entry : entries) blend.push_back({entry.prefix(), entry.weight()});
  return blend;
}

std::vector<Stage> stages_of(const proto::Config& config) {
  const proto::Training& training = config.training();
  std::vector<Stage> out = {{.prefix = config.data().prefix(),
                             .blend = blend_of(config.data().blend()),
                             .sequence_length = config.data().sequence_length(),
                             .batch = training.batch(),
                             .micro_batch = training.micro_batch()}};
  for (const proto::Stage& from : training.stages()) {
    const Stage& before = out.back();
    Stage stage = before;
    stage.first_step = from.first_step();
    if (!from.prefix().empty() || !from.blend().empty()) {
      stage.prefix = from.prefix();
      stage.blend = blend_of(from.blend());
    }
    if (from.has_sequence_length()) stage.sequence_length = from.sequence_length();
    if (from.has_batch()) stage.batch = from.batch();
    if (from.has_micro_batch()) stage.micro_batch = from.micro_batch();
    if (from.has_theta()) stage.theta = from.theta();
    const bool same_samples =
        stage.prefix == before.prefix && stage.blend == before.blend && stage.sequence_length == before.sequence_length;
    if (!same_samples) stage.order_begin = stage.first_step;
    out.push_back(std::move(stage));
  }
  return out;
}

TrainingConfig training_config(const proto::Config& config) {
  const proto::Training& training = config.training();
  return {.steps = training.steps(),
          .stages = stages_of(config),
          .learning_rate = training.learning_rate(),
          .minimum_rate = training.minimum_rate(),
          .warmup_steps = training.warmup_steps(),
          .decay_steps = training.decay_steps(),
          .schedule = schedule_of(training.schedule()),
          .beta1 = training.beta1(),
          .beta2 = training.beta2(),
          .epsilon = training.epsilon(),
          .weight_decay = training.weight_decay(),
          .clip_norm = training.clip_norm(),
          .seed = training.seed(),
          .loss_chunk = training.loss_chunk(),
          .recompute = recompute_of(training.recompute()),
          .start_from = training.start_from()};
}

DeviceTransport transport_of(proto::DeviceTransport transport) {
  switch (transport) {
    case proto::NCCL:
      return DeviceTransport::kNccl;
    case proto::STAGED:
      return DeviceTransport::kStaged;
  }
  CHECK(false, "device transport {}", static_cast<int>(transport));
  return {};
}

AttentionForm form_of(proto::AttentionForm form) {
  switch (form) {
    case proto::AUTOMATIC:
      return AttentionForm::kAutomatic;
    case proto::PORTABLE:
      return AttentionForm::kPortable;
    case proto::HOPPER:
      return AttentionForm::kHopper;
  }
  CHECK(false, "attention form {}", static_cast<int>(form));
  return {};
}

ParallelConfig parallel_config(const proto::Parallel& parallel, proto::Precision precision) {
  return {.mesh = {.data_parallel = parallel.data_parallel(),
                   .context_parallel = parallel.context_parallel(),
                   .tensor_parallel = parallel.tensor_parallel()},
          .sequence_parallel = parallel.sequence_parallel(),
          .backend = backend_of(parallel.device(), precision).value(),
          .deterministic = parallel.deterministic(),
          .device_transport = transport_of(parallel.device_transport()),
          .attention = form_of(parallel.attention()),
          .bucket_parameters = parallel.bucket_parameters(),
          .deadline_seconds = parallel.deadline_seconds()};
}

// The defaults that depend on the device. Without a backend, check_config() refuses the configuration.
void resolve_device_choices(proto::Config& config) {
  resolve_precision(config);
  const auto backend = backend_of(config.parallel().device(), config.training().precision());
  if (backend && !config.training().has_loss_chunk())
    config.mutable_training()->set_loss_chunk(usual_loss_chunk(*backend, config.model().vocabulary()));
}

Config make_config(const proto::Config& config) {
  const proto::Data& data = config.data();
  const proto::Validation& validation = config.validation();
  return {.model = model_config(config.model()),
          .data = {.tokenizer = data.tokenizer(),
                   .validation_fraction = data.validation_fraction(),
                   .seed = data.seed(),
                   .long_samples = long_samples_of(data.long_samples())},
          .training = training_config(config),
          .parallel = parallel_config(config.parallel(), config.training().precision()),
          .validation = {.interval = validation.interval(),
                         .samples = validation.samples(),
                         .position_ranges = validation.position_ranges(),
                         .sample_interval = validation.sample_interval(),
                         .sample_tokens = validation.sample_tokens(),
                         .temperature = validation.temperature(),
                         .prompt = validation.prompt()},
          .checkpoint = {.interval = config.checkpoint().interval(), .keep = config.checkpoint().keep()},
          .output = {.directory = config.output().directory(),
                     .log_interval = config.output().log_interval(),
                     .trace_steps = config.output().trace_steps(),
                     .trace_after = config.output().trace_after(),
                     .peak_flops = config.output().peak_flops()},
          .resolved_text = write_config_text(config)};
}

// Refuses --set of fields that inference does not use.
void check_inference_settings(std::span<const std::string> overrides, Problems& problems) {
  for (const std::string& assignment : overrides) {
    const std::string field = assignment.substr(0, assignment.find('='));
    const std::string group = field.substr(0, field.find('.'));
    if (group == "model" || group == "parallel" || field == "training.loss_chunk" || field == "training.precision")
      continue;
    problems.add_at(
        "--set " + excerpt(assignment),
        {excerpt(field), "", "is not used here",
         "leave it out; the fields of model and parallel, training.precision and training.loss_chunk are used"});
  }
}

[[noreturn]] void cannot_read(const std::filesystem::path& file) {
  throw ConfigurationError(fmt::format("cannot read {}: {}; name a configuration such as configs/rnope_swa.textproto",
                                       file.string(), std::strerror(errno)));
}

}  // namespace

std::string read_config_file(const std::filesystem::path& file) {
  if (file.empty())
    throw ConfigurationError("the configuration's name is empty; name one such as configs/rnope_swa.textproto");
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in) cannot_read(file);
  std::string text(kMostBytes + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (in.bad() || (in.gcount() == 0 && errno != 0)) cannot_read(file);
  text.resize(static_cast<size_t>(in.gcount()));
  return text;
}

Config parse_config(std::string_view text, const std::string& name, std::span<const std::string> overrides,
                    std::optional<int> world_size, int64_t steps_done, const CheckpointModel& checkpoint) {
  if (text.size() > kMostBytes)
    throw ConfigurationError(fmt::format("{} is larger than {} MiB, so it is no configuration; is it the right file?",
                                         name, kMostBytes >> 20));
  Problems problems;
  proto::Config config;
  const bool whole = read_config_text(text, name, config, problems);
  const proto::Model inherited = model_of(checkpoint);
  complete_model(checkpoint, inherited, config, problems);
  for (const std::string& assignment : overrides) {
    apply_override(assignment, config, problems);
    complete_model(checkpoint, inherited, config, problems);  // --set model={...} has replaced the group
  }
  if (whole) {
    check_readable(checkpoint, config, problems);
    resolve_data_parallel(*config.mutable_parallel(), world_size);
    resolve_device_choices(config);
    check_config(config, world_size, steps_done, problems);
    check_shape(checkpoint, inherited, config, problems);
  }
  problems.throw_if_any(name);
  return make_config(config);
}

Config parse_inference_config(std::string_view model_text, const std::string& name,
                              std::span<const std::string> overrides, std::optional<int> world_size) {
  Problems problems;
  proto::Config config;
  check_inference_settings(overrides, problems);
  const bool whole = read_config_text(model_text, name, config, problems);
  problems.forget_origins("model");  // lines of a text that the user has not seen
  for (const std::string& assignment : overrides) apply_override(assignment, config, problems);
  // There is no run, so no rule looks at its fields.
  for (const char* field : {"data.prefix", "data.sequence_length", "data.tokenizer", "training.steps", "training.batch",
                            "output.directory"})
    problems.unreadable(field);
  if (whole) {
    resolve_data_parallel(*config.mutable_parallel(), world_size);
    resolve_device_choices(config);
    check_config(config, world_size, 0, problems);
  }
  problems.throw_if_any(name);
  Config out = make_config(config);
  out.training.stages = {{.sequence_length = 0, .batch = out.parallel.mesh.data_parallel, .micro_batch = 1}};
  return out;
}

ConfigOutline outline_of(std::string_view text, const std::string& name, std::span<const std::string> overrides) {
  Problems untold;
  proto::Config config;
  read_config_text(text, name, config, untold);
  for (const std::string& assignment : overrides) apply_override(assignment, config, untold);
  return {config.output().directory(), config.training().start_from(), is_whole(config.model())};
}

}  // namespace ropewalk
