#include "trainer/config/field_rules.h"

#include <limits>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "parallel/mesh.h"
#include "trainer/config/field_names.h"

namespace ropewalk {

namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// A range of numbers. Infinity and NaN are in no range.
struct Range {
  double minimum, maximum = std::numeric_limits<double>::max();
  bool above_minimum = false, below_maximum = false;  // the end itself is excluded
  bool or_zero = false;

  bool holds(double x) const {
    if (or_zero && x == 0) return true;
    return (above_minimum ? x > minimum : x >= minimum) && (below_maximum ? x < maximum : x <= maximum);
  }
  std::string text() const {
    const std::string from =
        fmt::format("must be {}{} {}", or_zero ? "0, or " : "", above_minimum ? "greater than" : "at least", minimum);
    if (maximum == std::numeric_limits<double>::max()) return from + " and finite";
    return fmt::format("{} and {} {}", from, below_maximum ? "less than" : "at most", maximum);
  }
};

constexpr double kMost32 = static_cast<double>(kMostPositions);
constexpr double kMostSteps = 1e12;
constexpr Range kCount{1, kMost32}, kInterval{0, kMostSteps}, kRanks{1, kMostRanks};
constexpr Range kNotNegative{0}, kPositive{0, std::numeric_limits<double>::max(), true}, kFraction{0, 1, false, true};

constexpr Range kWeight{0, 1e9, true};

struct NumberRule {
  const char* field;  // "*" stands for the index of any entry of a list
  Range range;
  const char* example = nullptr;  // only for a field that must be set
};

constexpr NumberRule kNumberRules[] = {
    {"model.layers", {1, 10'000}, "32"},
    {"model.width", {1, 1 << 24}, "4096"},
    {"model.hidden", {1, 1 << 24}, "14336"},
    {"model.query_heads", {1, 1 << 16}, "32"},
    {"model.key_heads", {1, 1 << 16}, "8"},
    {"model.head_size", {1, 1 << 16}, "128"},
    {"model.vocabulary", kCount, "257"},
    {"model.norm_epsilon", kPositive},
    {"model.logit_scale", kPositive},
    {"model.initializer_range", kPositive},
    {"data.sequence_length", {2, kMost32}, "8192"},
    {"data.validation_fraction", kFraction},
    {"data.blend.*.weight", kWeight, "0.5"},
    {"training.steps", {1, kMostSteps}, "1000"},
    {"training.batch", kCount},
    {"training.micro_batch", kCount},
    {"training.learning_rate", kNotNegative},
    {"training.minimum_rate", kNotNegative},
    {"training.warmup_steps", kInterval},
    {"training.decay_steps", kInterval},
    {"training.beta1", kFraction},
    {"training.beta2", kFraction},
    {"training.epsilon", kPositive},
    {"training.weight_decay", kNotNegative},
    {"training.clip_norm", kNotNegative},
    {"training.loss_chunk", kCount},
    {"training.stages.*.first_step", {1, kMostSteps}, "800"},
    {"training.stages.*.sequence_length", {2, kMost32}},
    {"training.stages.*.batch", kCount},
    {"training.stages.*.micro_batch", kCount},
    {"training.stages.*.theta", kPositive},
    {"training.stages.*.blend.*.weight", kWeight, "0.5"},
    {"parallel.data_parallel", {0, kMostRanks}},
    {"parallel.context_parallel", kRanks},
    {"parallel.tensor_parallel", kRanks},
    {"parallel.bucket_parameters", {0, kMost32}},
    {"parallel.deadline_seconds", {0, 1e7, true}},  // 115 days
    {"validation.interval", kInterval},
    {"validation.samples", kCount},
    {"validation.position_ranges", {1, 1 << 16}},
    {"validation.sample_interval", kInterval},
    {"validation.sample_tokens", {0, kMost32}},
    {"validation.temperature", kNotNegative},
    {"checkpoint.interval", kInterval},
    {"checkpoint.keep", kInterval},
    {"output.log_interval", {1, kMostSteps}},
    {"output.trace_steps", {0, 1000}},  // each takes some MB
    {"output.trace_after", kInterval},
    {"output.peak_flops", {.minimum = 1e6, .maximum = 1e18, .or_zero = true}},
};

struct PathRule {
  const char* field;
  const char* example = nullptr;  // only for a field that must not be empty
  bool required = true;           // a field with an example must be set
};

constexpr PathRule kPathRules[] = {{"data.prefix", "\"data/text\""},
                                   {"data.blend.*.prefix", "\"data/text\""},
                                   {"training.stages.*.prefix", "\"data/long\"", false},
                                   {"training.stages.*.blend.*.prefix", "\"data/long\""},
                                   {"training.start_from"},
                                   {"output.directory", "\"runs/first\""}};

struct Found {
  std::string path;
  const Message* message;
  const FieldDescriptor* field;
  bool is_set() const { return message->GetReflection()->HasField(*message, field); }
};

// Appends every field that `rule`, as "training.steps" or "training.stages.*.batch", names in the message at `path`.
void find(const Message& message, const std::string& path, std::string_view rule, std::vector<Found>& out) {
  const size_t dot = rule.find('.');
  const std::string name(rule.substr(0, dot));
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  CHECK(field, "no field {} in {} for a rule", name, path);
  const std::string here = join_path(path, name);
  if (dot == std::string_view::npos) return out.push_back({here, &message, field});
  const auto& reflection = *message.GetReflection();
  if (!field->is_repeated()) return find(reflection.GetMessage(message, field), here, rule.substr(dot + 1), out);
  for (int entry = 0; entry < reflection.FieldSize(message, field); ++entry)
    find(reflection.GetRepeatedMessage(message, field, entry), join_path(here, std::to_string(entry)),
         rule.substr(rule.find('.', dot + 1) + 1), out);
}

std::vector<Found> find(const Message& config, std::string_view rule) {
  std::vector<Found> out;
  find(config, "", rule, out);
  return out;
}

// "training.stages.12.batch" -> "training.stages.*.batch": only an index begins with a digit.
std::string with_any_index(const std::string& field) {
  std::string out;
  for (const char c : field) {
    const bool digit = c >= '0' && c <= '9';
    if (digit && out.ends_with('*')) continue;
    out += digit && out.ends_with('.') ? '*' : c;
  }
  return out;
}

double number_of(const Found& found) {
  const auto& reflection = *found.message->GetReflection();
  switch (found.field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(*found.message, found.field);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(reflection.GetInt64(*found.message, found.field));
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection.GetDouble(*found.message, found.field);
    default:
      CHECK(false, "{} is no number", found.field->full_name());
  }
  return 0;
}

std::string value_text(const Found& found) {
  if (found.field->cpp_type() == FieldDescriptor::CPPTYPE_INT64)
    return std::to_string(found.message->GetReflection()->GetInt64(*found.message, found.field));
  return fmt::format("{}", number_of(found));
}

bool has_blend(const Message& message) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName("blend");
  return field && message.GetReflection()->FieldSize(message, field) > 0;
}

void add_missing(const std::string& path, const char* example, Problems& problems) {
  const size_t dot = path.rfind('.');
  problems.add({path, "", "is not set",
                fmt::format("add {}: {} to {} {{ }}, or --set {}={}", path.substr(dot + 1), example,
                            path.substr(0, dot), path, example)});
}

}  // namespace

std::string range_rule(const std::string& field) {
  const std::string name = with_any_index(field);
  for (const NumberRule& rule : kNumberRules)
    if (rule.field == name) return rule.range.text();
  return "";
}

double matrix_elements_of(const ModelConfig& model, int64_t layers) {
  const double width = static_cast<double>(model.width);
  const double heads = 2.0 * static_cast<double>(model.query_heads + model.key_heads);
  const double layer = width * (heads * static_cast<double>(model.head_size) + 3.0 * static_cast<double>(model.hidden));
  return static_cast<double>(layers) * layer + static_cast<double>(model.vocabulary) * width;
}

void check_fields(const proto::Config& config, Problems& problems) {
  for (const NumberRule& rule : kNumberRules) {
    for (const Found& found : find(config, rule.field)) {
      if (problems.is_unreadable(found.path)) continue;
      const bool missing = rule.example && !found.is_set();
      const bool left_out = !rule.example && !found.is_set() && !found.field->has_default_value();
      if (left_out || (!missing && rule.range.holds(number_of(found)))) continue;
      problems.unreadable(found.path);
      if (missing)
        add_missing(found.path, rule.example, problems);
      else
        problems.add({found.path, value_text(found), rule.range.text(), ""});
    }
  }
  for (const PathRule& rule : kPathRules) {
    for (const Found& found : find(config, rule.field)) {
      const bool optional = !rule.example || !rule.required;
      if (problems.is_unreadable(found.path) || (optional && !found.is_set())) continue;
      const std::string path = found.message->GetReflection()->GetString(*found.message, found.field);
      if (path.empty() && has_blend(*found.message)) continue;  // instead of a prefix
      if (path.empty() && rule.example)
        add_missing(found.path, rule.example, problems);
      else if (path.find('\0') != std::string::npos)
        problems.add({found.path, excerpt(path), "must be a path, without NUL bytes", ""});
    }
  }
}

}  // namespace ropewalk
