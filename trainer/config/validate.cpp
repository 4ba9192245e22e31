#include "trainer/config/validate.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "kernels/make_kernels.h"
#include "parallel/mesh.h"
#include "trainer/config/blend_rules.h"
#include "trainer/config/field_names.h"
#include "trainer/config/field_rules.h"
#include "trainer/config/precision.h"
#include "trainer/config/stage_rules.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {

namespace {

// "1, 2, 4 or 8": the common divisors of both, up to 1024.
std::string common_divisors(int64_t a, int64_t b) {
  std::vector<std::string> divisors;
  for (int64_t d = 1; d <= std::min<int64_t>({a, b, 1024}); ++d)
    if (a % d == 0 && b % d == 0) divisors.push_back(std::to_string(d));
  std::string text = divisors.front();
  for (size_t i = 1; i < divisors.size(); ++i) text += (i + 1 == divisors.size() ? " or " : ", ") + divisors[i];
  return text;
}

class Checker {
 public:
  Checker(const proto::Config& config, std::optional<int> world_size, int64_t steps_done, Problems& problems)
      : config_(config), world_size_(world_size), steps_done_(steps_done), problems_(problems) {}

  void check() {
    check_fields(config_, problems_);
    check_blends(config_, problems_);
    check_heads();
    check_pattern();
    check_parameter_count();
    check_data();
    check_precision();
    check_device();
    check_mesh();
    check_stages(config_, steps_done_, problems_);
    check_schedule();
    check_samples();
  }

 private:
  // Whether a rule between these fields can be checked.
  bool usable(std::initializer_list<const char*> fields) const {
    return std::none_of(fields.begin(), fields.end(),
                        [&](const char* field) { return problems_.is_unreadable(field); });
  }
  template <typename Value>
  void problem(const std::string& field, const Value& value, const std::string& rule, const std::string& remedy) {
    problems_.add({field, fmt::format("{}", value), rule, remedy});
  }

  void check_divides(const char* field, int64_t value, const char* divisor_field, int64_t divisor) {
    if (!usable({field, divisor_field}) || value % divisor == 0) return;
    problem(field, value, fmt::format("must be a multiple of {} = {}", divisor_field, divisor),
            fmt::format("{}, or {} to {}", set_to_multiple(field, value, divisor), divisor_field,
                        common_divisors(value, value)));
  }

  void check_heads() {
    const proto::Model& model = config_.model();
    const int64_t tensor = config_.parallel().tensor_parallel(), key = model.key_heads();
    check_divides("model.query_heads", model.query_heads(), "model.key_heads", key);
    check_divides("model.query_heads", model.query_heads(), "parallel.tensor_parallel", tensor);
    check_divides("model.hidden", model.hidden(), "parallel.tensor_parallel", tensor);
    if (usable({"model.head_size"}) && model.head_size() % 2 != 0)
      problem("model.head_size", model.head_size(), "must be even, because RoPE rotates pairs",
              fmt::format("set it to {}", model.head_size() + 1));
    if (usable({"model.key_heads", "parallel.tensor_parallel"}) && key % tensor != 0 && tensor % key != 0)
      problem(
          "model.key_heads", key,
          fmt::format("must be a multiple of parallel.tensor_parallel = {}, or divide it", tensor),
          fmt::format("set parallel.tensor_parallel to {}, or to a multiple of {}", common_divisors(key, key), key));
  }

  void check_pattern() {
    const auto& pattern = config_.model().pattern();
    if (pattern.empty() && !problems_.is_unreadable("model.pattern"))
      problems_.add(
          {"model.pattern", "", "is empty: it must list the kinds of layers",
           "add pattern { mask: SLIDING window: 4096 position: ROPE theta: 50000 } and the like to model { }"});
    for (int i = 0; i < pattern.size(); ++i) check_layer(pattern[i], fmt::format("model.pattern.{}", i));
  }

  void check_layer(const proto::Layer& layer, const std::string& path) {
    const std::string window = path + ".window", theta = path + ".theta";
    const bool mask_known = !problems_.is_unreadable(path + ".mask");
    const bool position_known = !problems_.is_unreadable(path + ".position");
    if (layer.has_window() && (layer.window() < 1 || layer.window() > kMostPositions))
      problem(window, layer.window(), fmt::format("must be at least 1 and at most {}", kMostPositions),
              "a window of 1 is the query itself");
    else if (mask_known && layer.mask() == proto::SLIDING && !layer.has_window() && !problems_.is_unreadable(window))
      problems_.add({window, "", "is not set, and the layer has mask: SLIDING", "add window: 4096, or set mask: FULL"});
    else if (mask_known && layer.mask() != proto::SLIDING && layer.has_window())
      problem(window, layer.window(), "is for layers with mask: SLIDING; this one has mask: FULL",
              "set mask: SLIDING, or leave window out");
    if (layer.has_theta() && !(layer.theta() > 0 && std::isfinite(layer.theta())))
      problem(theta, layer.theta(), "must be greater than 0 and finite", "usual bases are 10000 to 4000000");
    else if (position_known && layer.position() == proto::ROPE && !layer.has_theta() && !problems_.is_unreadable(theta))
      problems_.add(
          {theta, "", "is not set, and the layer has position: ROPE", "add theta: 50000, or set position: NONE"});
    else if (position_known && layer.position() != proto::ROPE && layer.has_theta())
      problem(theta, layer.theta(), "is for layers with position: ROPE; this one has position: NONE",
              "set position: ROPE, or leave theta out");
  }

  // Even if each size is in range, the model's bytes may not fit in 63 bits.
  void check_parameter_count() {
    const proto::Model& model = config_.model();
    if (!usable({"model.layers", "model.width", "model.hidden", "model.query_heads", "model.key_heads",
                 "model.head_size", "model.vocabulary"}))
      return;
    const ModelConfig sizes{.layers = {},
                            .width = model.width(),
                            .hidden = model.hidden(),
                            .query_heads = model.query_heads(),
                            .key_heads = model.key_heads(),
                            .head_size = model.head_size(),
                            .vocabulary = model.vocabulary()};
    const double count = matrix_elements_of(sizes, model.layers());
    if (count > kMostParameters)
      problem("model.layers", model.layers(),
              fmt::format("makes, with the other sizes, a model of {:.3g} parameters; at most {:.3g} can be addressed",
                          count, kMostParameters),
              "check the sizes of the model for a typing error");
  }

  void check_data() {
    const proto::Data& data = config_.data();
    if (!usable({"data.tokenizer"}) || data.tokenizer().empty() || data.tokenizer() == "none") return;
    try {
      const int64_t tokens = make_tokenizer(data.tokenizer())->vocabulary_size();
      if (usable({"model.vocabulary"}) && config_.model().vocabulary() < tokens)
        problem("model.vocabulary", config_.model().vocabulary(),
                fmt::format("must be at least {}, the size of the tokenizer \"{}\"", tokens, data.tokenizer()),
                fmt::format("set it to {}", tokens));
    } catch (const ConfigurationError& error) {
      problems_.add({"data.tokenizer", excerpt(data.tokenizer()), error.what(), "or none, to show no text"});
    }
  }

  void check_precision() {
    if (!usable({"parallel.device", "training.precision"})) return;
    const proto::Device device = config_.parallel().device();
    const proto::Precision precision = config_.training().precision();
    if (backend_of(device, precision)) return;
    std::vector<std::string> others;
    for (const proto::Precision other : {proto::FP32, proto::BF16, proto::FP64})
      if (backend_of(device, other)) others.push_back(proto::Precision_Name(other));
    problem("training.precision", proto::Precision_Name(precision),
            fmt::format("must be {} with parallel.device {}", fmt::join(others, " or "), proto::Device_Name(device)),
            "set it so, or leave it out");
  }

  // The limits of the backend, checked here so that they are reported before a job queues for machines. Whether this
  // build has the backend is not checked: a plan does not need it.
  void check_device() {
    const proto::Parallel& parallel = config_.parallel();
    const proto::Model& model = config_.model();
    if (!usable({"parallel.device"}) || parallel.device() != proto::CUDA) return;
    const BackendLimits limits = limits_of(BackendKind::kCuda);
    if (usable({"model.head_size"}) &&
        std::ranges::find(limits.head_sizes, model.head_size()) == limits.head_sizes.end())
      problem("model.head_size", model.head_size(),
              fmt::format("must be {} with parallel.device CUDA", fmt::join(limits.head_sizes, " or ")),
              "set it so, or set parallel.device to CPU");
    if (usable({"model.width"}) && (model.width() % limits.width_multiple != 0 || model.width() > limits.most_width))
      problem("model.width", model.width(),
              fmt::format("must be a multiple of {} and at most {} with parallel.device CUDA", limits.width_multiple,
                          limits.most_width),
              fmt::format("the nearest below is {}",
                          std::min(model.width(), limits.most_width) / limits.width_multiple * limits.width_multiple));
    if (!usable({"model.query_heads", "model.key_heads", "parallel.tensor_parallel"})) return;
    const int64_t grouped = model.query_heads() / std::max<int64_t>(model.key_heads(), parallel.tensor_parallel());
    if (grouped > limits.most_grouped_heads)
      problem("model.query_heads", model.query_heads(),
              fmt::format("is {} to each of the {} key heads; at most {} with parallel.device CUDA", grouped,
                          model.key_heads(), limits.most_grouped_heads),
              "set more key_heads");
  }

  void check_mesh() {
    if (!usable({"parallel.data_parallel", "parallel.context_parallel", "parallel.tensor_parallel"})) return;
    const proto::Parallel& parallel = config_.parallel();
    // In floating point, because three factors may overflow an integer.
    const double all =
        1.0 * std::max(1, parallel.data_parallel()) * parallel.context_parallel() * parallel.tensor_parallel();
    if (all > kMostRanks) {
      problem("parallel.context_parallel", parallel.context_parallel(),
              fmt::format("times data_parallel = {} times tensor_parallel = {} is {:.3g} ranks; at most {} can be",
                          parallel.data_parallel(), parallel.tensor_parallel(), all, kMostRanks),
              "check the three for a typing error");
      return;
    }
    if (!world_size_) return;
    const int64_t model_ranks = int64_t{1} * parallel.context_parallel() * parallel.tensor_parallel();
    const int64_t data = parallel.data_parallel(), world = *world_size_;
    if (data == 0)
      problem("parallel.context_parallel", parallel.context_parallel(),
              fmt::format("times tensor_parallel = {} must divide the number of ranks, which is {}",
                          parallel.tensor_parallel(), world),
              fmt::format("start {} ranks, or change one of the two",
                          std::max<int64_t>(1, world / model_ranks) * model_ranks));
    else if (data * model_ranks != world)
      problem("parallel.data_parallel", data,
              fmt::format("times context_parallel = {} times tensor_parallel = {} is {} ranks, but the job has {}",
                          parallel.context_parallel(), parallel.tensor_parallel(), data * model_ranks, world),
              fmt::format("start {} ranks, or set data_parallel to 0 to take what the other two leave",
                          data * model_ranks));
  }

  void check_schedule() {
    const proto::Training& training = config_.training();
    const bool decays = training.schedule() == proto::WARMUP_STABLE_DECAY;
    if (usable({"training.minimum_rate", "training.learning_rate"}) &&
        training.minimum_rate() > training.learning_rate())
      problem("training.minimum_rate", training.minimum_rate(),
              fmt::format("must be at most training.learning_rate = {}", training.learning_rate()),
              "lower it, usually to 0");
    if (!usable({"training.steps", "training.warmup_steps"})) return;
    if (training.warmup_steps() > training.steps())
      problem("training.warmup_steps", training.warmup_steps(),
              fmt::format("must be at most training.steps = {}", training.steps()),
              "warm up for about a hundredth of the run");
    if (!usable({"training.decay_steps", "training.schedule"})) return;
    if (!decays && training.decay_steps() > 0)
      problem("training.decay_steps", training.decay_steps(),
              fmt::format("is for the schedule WARMUP_STABLE_DECAY; this one is {}",
                          proto::Schedule_Name(training.schedule())),
              "leave it out, or set schedule: WARMUP_STABLE_DECAY");
    else if (decays && training.decay_steps() == 0)
      problems_.add({"training.decay_steps", "0", "must be at least 1 with the schedule WARMUP_STABLE_DECAY",
                     "decay over about a tenth of the run"});
    else if (decays && training.warmup_steps() <= training.steps() &&
             training.decay_steps() > training.steps() - training.warmup_steps())
      problem("training.decay_steps", training.decay_steps(),
              fmt::format("and warmup_steps = {} must be at most training.steps = {} together", training.warmup_steps(),
                          training.steps()),
              "decay over about a tenth of the run");
  }

  void check_samples() {
    const proto::Validation& validation = config_.validation();
    if (usable({"validation.sample_tokens", "data.tokenizer"}) && config_.data().tokenizer() == "none" &&
        validation.sample_tokens() > 0)
      problem("validation.sample_tokens", validation.sample_tokens(),
              "must be 0 with data.tokenizer none, which shows no text", "set it to 0, or name the tokenizer");
  }

  const proto::Config& config_;
  std::optional<int> world_size_;
  int64_t steps_done_;
  Problems& problems_;
};

}  // namespace

void check_config(const proto::Config& config, std::optional<int> world_size, int64_t steps_done, Problems& problems) {
  Checker(config, world_size, steps_done, problems).check();
}

}  // namespace ropewalk
