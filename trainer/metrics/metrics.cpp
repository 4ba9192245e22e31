#include "trainer/metrics/metrics.h"

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/error.h"

namespace ropewalk {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kLongestLine = 1 << 20;  // bytes; ours have less than a thousand

Json number(double value) {
  if (std::isfinite(value)) return value;
  return std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

// The step of a line, or nothing if the line is not one of ours.
std::optional<int64_t> step_of(const char* line) {
  const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object() || !object.contains("step") || !object["step"].is_number_integer()) return std::nullopt;
  return object["step"].get<int64_t>();
}

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
    for (double loss : metrics.validation->loss_by_position) {
      object["validation_loss_by_position"].push_back(number(loss));
    }
  }
  return object.dump();
}

std::vector<std::pair<std::string, double>> scalars_of(const StepMetrics& metrics) {
  std::vector<std::pair<std::string, double>> out = {
      {"train/loss", metrics.loss},
      {"train/gradient_norm", metrics.gradient_norm},
      {"train/learning_rate", metrics.learning_rate},
      {"train/sequence_length", static_cast<double>(metrics.sequence_length)},
      {"train/tokens", static_cast<double>(metrics.tokens)},
      {"throughput/seconds_per_step", metrics.seconds},
      {"throughput/tokens_per_second", metrics.tokens_per_second},
      {"throughput/model_flops_per_second", metrics.model_flops_per_second},
      {"memory/peak_bytes", static_cast<double>(metrics.peak_memory_bytes)},
  };
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
    out.emplace_back("validation/loss", metrics.validation->loss);
    const std::vector<double>& losses = metrics.validation->loss_by_position;
    for (size_t i = 0; i < losses.size(); ++i) {
      out.emplace_back(fmt::format("validation/loss_position_{}_of_{}", i + 1, losses.size()), losses[i]);
    }
  }
  return out;
}

MetricsFile::MetricsFile(const std::filesystem::path& path, int64_t resumed_step)
    : kept_(resumed_step == 0 ? keep_lines(path) : std::filesystem::path()), file_(path) {
  if (std::filesystem::is_regular_file(path)) cut_after(resumed_step);
}

std::filesystem::path MetricsFile::keep_lines(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error) || std::filesystem::file_size(path, error) == 0) return {};
  std::filesystem::path target;
  for (int count = 1; target.empty() || std::filesystem::exists(target, error); ++count)
    target = path.string() + "." + std::to_string(count);
  std::filesystem::rename(path, target, error);
  if (!error) return target;
  throw DataError(fmt::format("cannot rename '{}', which an earlier run wrote, to '{}': {}. Move it away.",
                              path.string(), target.string(), error.message()));
}

void MetricsFile::cut_after(int64_t step) {
  std::ifstream in(file_.path(), std::ios::binary);
  if (!in)
    throw DataError(
        fmt::format("cannot read '{}' to go on with it. Move it away, then resume.", file_.path().string()));
  std::string line(kLongestLine, '\0');
  int64_t kept_bytes = 0;
  for (int64_t number = 1; in.getline(line.data(), static_cast<std::streamsize>(line.size())); ++number) {
    if (in.eof()) break;  // no newline: half-written
    const int64_t bytes = in.gcount();
    const std::optional<int64_t> line_step = step_of(line.data());
    if (!line_step) {
      throw DataError(
          fmt::format("{}:{}: not a line of metrics. Move the file away, then resume.", file_.path().string(), number));
    }
    if (*line_step > step) break;
    kept_bytes += bytes;
  }
  if (in.fail() && !in.eof()) {
    throw DataError(fmt::format("{}: a line of more than {} bytes is not ours. Move the file away, then resume.",
                                file_.path().string(), kLongestLine));
  }
  file_.cut(kept_bytes);
}

void MetricsFile::write(const StepMetrics& metrics) { file_.append(json_line(metrics) + "\n"); }

}  // namespace ropewalk
