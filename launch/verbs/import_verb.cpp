// `ropewalk import`: a Hugging Face model becomes a checkpoint.
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "launch/process/output.h"
#include "launch/process/process.h"
#include "launch/verbs/conversion.h"
#include "launch/verbs/verbs.h"
#include "trainer/conversion/import_model.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr size_t kColumns = 110;

// "  used     a 1, b 2, ...", wrapped.
std::string wrapped(const std::string& title, const std::vector<std::string>& items) {
  const std::string indent = "           ";
  std::string out = "  " + title + ":", line = "   ";
  for (size_t i = 0; i < items.size(); ++i) {
    const std::string item = printable_name(items[i]) + (i + 1 < items.size() ? "," : "");
    if (line.size() + item.size() + 1 > kColumns) {
      out += "\n" + line;
      line = "   ";
    }
    line += " " + item;
  }
  return out + "\n" + line + "\n";
}

std::string keys_text(const std::vector<KeyReport>& keys) {
  std::vector<std::string> used, assumed;
  std::map<std::string, std::vector<std::string>> ignored;  // by reason
  for (const KeyReport& key : keys) {
    const std::string item = fmt::format("{} {}", key.key, key.value);
    if (key.fate == KeyFate::kUsed)
      used.push_back(item);
    else if (key.fate == KeyFate::kAssumed)
      assumed.push_back(item);
    else
      ignored[key.note].push_back(item);
  }
  std::string out = wrapped("used", used);
  if (!assumed.empty()) out += wrapped("not in the file; the default of transformers", assumed);
  for (const auto& [why, items] : ignored) out += wrapped(fmt::format("ignored ({})", why), items);
  return out;
}

// "24 with mask SLIDING, window 4096, position ROPE, theta 50000" for each kind of layer.
std::vector<std::string> layer_kinds(const std::vector<LayerKind>& layers) {
  std::vector<std::string> texts;
  std::vector<LayerKind> told;
  for (const LayerKind& kind : layers) {
    if (std::ranges::find(told, kind) != told.end()) continue;
    told.push_back(kind);
    std::string text = fmt::format("{} with mask ", std::ranges::count(layers, kind));
    text += kind.mask == LayerKind::Mask::kSliding ? fmt::format("SLIDING window {}", kind.window) : "FULL";
    text += kind.position == LayerKind::Position::kRope ? fmt::format(" position ROPE theta {}", kind.theta)
                                                        : " position NONE";
    if (kind.qk_norm == LayerKind::QkNorm::kLayerNorm) text += " qk_norm LAYER_NORM";
    texts.push_back(text);
  }
  return texts;
}

std::string summary(const ImportReport& report, const std::string& directory, const std::string& checkpoint) {
  std::string out = fmt::format("config.json of {} ({}):\n{}", printable_name(directory), report.architecture,
                                keys_text(report.keys));
  out += wrapped("layers", layer_kinds(report.model.layers));
  if (!report.redundant.empty()) out += wrapped("tensors that were not needed", report.redundant);
  if (!report.carried.empty())
    out += wrapped("files that the checkpoint carries along, for the export", report.carried);
  if (!report.left_behind.empty()) out += wrapped("left behind", report.left_behind);
  out += fmt::format("wrote {}: {} parameters in {}, {} of {}\n", printable_name(checkpoint),
                     count_text(static_cast<double>(report.parameters)), counted(report.model.layers.size(), "layer"),
                     bytes_text(static_cast<double>(report.bytes)), fmt::to_string(fmt::join(report.types, " and ")));
  return out;
}

ExitCode run(const Arguments& arguments, const Launcher&) {
  const std::string& directory = arguments.positional().front();
  const std::string checkpoint = arguments.value("output");
  const std::vector<std::string> ignored = arguments.values("ignore-key");
  return convert("importing", [&](const BytesDone& progress) {
    const ImportReport report = import_model(directory, checkpoint, {ignored.begin(), ignored.end()}, progress);
    return Converted{summary(report, directory, checkpoint), report.durable};
  });
}

}  // namespace

Verb import_verb() {
  return {
      .name = "import",
      .summary = "make a checkpoint from a Hugging Face model",
      .positional = {"HF_DIR"},
      .about =
          "Reads the Hugging Face model in HF_DIR (Cohere2 such as Command R7B, or Cohere such as Command R+):\n"
          "config.json and safetensors, one file or shards, in fp32, bf16 or fp16. Writes a checkpoint with the\n"
          "same values in the same types, from which training.start_from starts a run. Prints what became of each\n"
          "key of config.json; a key that is not known, or has a value that is not supported, is refused. The\n"
          "tokenizer and the other small files are carried along, for `ropewalk export`. Needs little memory,\n"
          "whatever the size of the model. CHECKPOINT is complete or absent.",
      .groups = {{"Options",
                  {{"output", "CHECKPOINT", "the directory to make; it must not exist", Option::Count::kOnce, true},
                   {"ignore-key", "KEY",
                    "ignore this key of config.json (SECTION.KEY for a key of an object); may be repeated",
                    Option::Count::kRepeated}}}},
      .examples = {"ropewalk import models/c4ai-command-r7b-12-2024 --output models/r7b    # a model that you have"},
      .run = run};
}

}  // namespace ropewalk
