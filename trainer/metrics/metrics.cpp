#include "trainer/metrics/metrics.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

namespace ropewalk {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

Json number(const std::optional<double>& value) { return value ? number(*value) : Json(); }

}  // namespace

std::string json_line(const StepMetrics& metrics) {
  Json object = {{"step", metrics.step},
                 {"total_steps", metrics.total_steps},
                 {"time", number(metrics.time)},
                 {"loss", number(metrics.loss)},
                 {"gradient_norm", number(metrics.gradient_norm)},
                 {"learning_rate", number(metrics.learning_rate)},
                 {"sequence_length", metrics.sequence_length},
                 {"tokens", metrics.tokens},
                 {"seconds", number(metrics.seconds)},
                 {"tokens_per_second", number(metrics.tokens_per_second)},
                 {"model_flops_per_second", number(metrics.model_flops_per_second)}};
  if (metrics.model_flops_utilization) object["model_flops_utilization"] = number(*metrics.model_flops_utilization);
  object["bytes_sent"] = Json::object();
  for (const auto& [axis, bytes] : metrics.bytes_sent) object["bytes_sent"][axis] = bytes;
  object["peak_memory_bytes"] = metrics.peak_memory_bytes;
  if (metrics.peak_device_memory_bytes) object["peak_device_memory_bytes"] = *metrics.peak_device_memory_bytes;
  object["seconds_remaining"] = number(metrics.seconds_remaining);
  if (metrics.validation) {
    object["validation_loss"] = number(metrics.validation->loss);
    object["validation_seconds"] = number(metrics.validation->seconds);
    object["validation_loss_by_position"] = Json::array();
    for (const std::optional<double>& loss : metrics.validation->loss_by_position) {
      object["validation_loss_by_position"].push_back(number(loss));
    }
  }
  return object.dump();
}

std::vector<std::pair<std::string, double>> scalars_of(const StepMetrics& metrics) {
  std::vector<std::pair<std::string, double>> out = {
      {"train/gradient_norm", metrics.gradient_norm},
      {"train/learning_rate", metrics.learning_rate},
      {"train/sequence_length", static_cast<double>(metrics.sequence_length)},
      {"train/tokens", static_cast<double>(metrics.tokens)},
      {"throughput/seconds_per_step", metrics.seconds},
      {"throughput/tokens_per_second", metrics.tokens_per_second},
      {"throughput/model_flops_per_second", metrics.model_flops_per_second},
      {"memory/peak_bytes", static_cast<double>(metrics.peak_memory_bytes)},
  };
  if (metrics.loss) out.emplace_back("train/loss", *metrics.loss);
  if (metrics.peak_device_memory_bytes) {
    out.emplace_back("memory/peak_device_bytes", static_cast<double>(*metrics.peak_device_memory_bytes));
  }
  if (metrics.model_flops_utilization) {
    out.emplace_back("throughput/model_flops_utilization", *metrics.model_flops_utilization);
  }
  for (const auto& [axis, bytes] : metrics.bytes_sent) {
    out.emplace_back("communication/bytes_sent_" + axis, static_cast<double>(bytes));
  }
  if (metrics.validation) {
    if (metrics.validation->loss) out.emplace_back("validation/loss", *metrics.validation->loss);
    const std::vector<std::optional<double>>& losses = metrics.validation->loss_by_position;
    for (size_t i = 0; i < losses.size(); ++i) {
      if (losses[i])
        out.emplace_back(fmt::format("validation/loss_position_{}_of_{}", i + 1, losses.size()), *losses[i]);
    }
  }
  return out;
}

}  // namespace ropewalk
