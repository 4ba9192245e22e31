// `ropewalk export`: a checkpoint becomes a Hugging Face model.
#include <fmt/ranges.h>

#include <charconv>

#include "launch/process/output.h"
#include "launch/verbs/conversion.h"
#include "launch/verbs/verbs.h"
#include "trainer/conversion/export_model.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

std::optional<DType> dtype_of(const Arguments& arguments) {
  if (!arguments.has("dtype")) return std::nullopt;
  const std::string name = arguments.value("dtype");
  if (name == "fp32") return DType::kF32;
  if (name == "bf16") return DType::kBF16;
  if (name == "fp16") return DType::kF16;
  throw ConfigurationError(fmt::format("--dtype {}: must be fp32, bf16 or fp16", printable_name(name)));
}

// "5GB", "500MB", "20KB": powers of 1000, as transformers has it; or a number of bytes.
int64_t shard_bytes_of(const Arguments& arguments) {
  if (!arguments.has("max-shard-size")) return kUsualShardBytes;
  const std::string text = arguments.value("max-shard-size");
  constexpr std::pair<std::string_view, int64_t> kUnits[] = {
      {"KB", 1'000}, {"MB", 1'000'000}, {"GB", 1'000'000'000}, {"", 1}};
  for (const auto& [unit, factor] : kUnits) {
    if (!text.ends_with(unit)) continue;
    int64_t count = 0, bytes = 0;
    const char* const end = text.data() + text.size() - unit.size();
    const auto [rest, error] = std::from_chars(text.data(), end, count);
    if (error == std::errc() && rest == end && count > 0 && !__builtin_mul_overflow(count, factor, &bytes))
      return bytes;
    break;
  }
  throw ConfigurationError(
      fmt::format("--max-shard-size {}: must be a size such as 5GB, 500MB or 20KB", printable_name(text)));
}

std::string summary(const ExportReport& report, const std::string& checkpoint, const std::string& directory) {
  std::string out = fmt::format("wrote {} from {}{}: {}, {} parameters, {} of {}, read back and compared\n",
                                printable_name(directory), printable_name(checkpoint),
                                report.step > 0 ? fmt::format(" (step {})", report.step) : "", report.architecture,
                                count_text(static_cast<double>(report.parameters)),
                                bytes_text(static_cast<double>(report.bytes)), fmt::join(report.types, " and "));
  for (const std::string& file : report.files) out += "  " + printable_name(file) + "\n";
  if (!report.has_tokenizer)
    out += "note: the checkpoint carries no tokenizer files; put the tokenizer's files into the directory\n";
  for (const std::string& limit : report.limits) out += "note: " + limit + "\n";
  return out;
}

ExitCode run(const Arguments& arguments, const Launcher&) {
  const std::string& checkpoint = arguments.positional().front();
  const std::string directory = arguments.value("output");
  const ExportOptions options{.dtype = dtype_of(arguments), .most_shard_bytes = shard_bytes_of(arguments)};
  return convert("exporting", [&](const BytesDone& progress) {
    const ExportReport report = export_model(checkpoint, directory, options, progress);
    return Converted{summary(report, checkpoint, directory), report.durable};
  });
}

}  // namespace

Verb export_verb() {
  return {
      .name = "export",
      .summary = "make a Hugging Face model from a checkpoint",
      .positional = {"CHECKPOINT"},
      .about =
          "Writes the weights of CHECKPOINT (runs/mine/checkpoints/step-00001000, from any mesh, or an imported\n"
          "model) as a Hugging Face model that transformers, vLLM and llama.cpp's converter load: config.json,\n"
          "safetensors, and the tokenizer files with which the model was imported. Then reads the weights back\n"
          "and compares them with what was written. A run stores its master weights in fp32: add --dtype bf16 for\n"
          "the usual size. HF_DIR is complete or absent.",
      .groups = {{"Options",
                  {{"output", "HF_DIR", "the directory to make; it must not exist", Option::Count::kOnce, true},
                   {"dtype", "TYPE", "fp32, bf16 or fp16. Default: as stored"},
                   {"max-shard-size", "SIZE", "largest file of weights: 5GB, 500MB. Default: 5GB"}}}},
      .examples = {"ropewalk export models/r7b --output models/r7b-fp16 --dtype fp16      # made by `ropewalk import`",
                   "# needs a run of 20 steps",
                   "ropewalk export runs/mine/checkpoints/step-00000020 --output models/mine --dtype bf16"},
      .run = run};
}

}  // namespace ropewalk
