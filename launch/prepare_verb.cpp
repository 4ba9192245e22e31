// `ropewalk prepare`: text to PREFIX.bin and PREFIX.idx.
#include <iostream>
#include <optional>

#include "launch/verbs.h"
#include "trainer/data/prepare.h"
#include "trainer/metrics/progress.h"

namespace ropewalk {

namespace {

InputFormat format_of(const std::string& name) {
  if (name == "extension") return InputFormat::kByExtension;
  if (name == "text") return InputFormat::kText;
  if (name == "jsonl") return InputFormat::kJsonLines;
  throw ConfigurationError(fmt::format("--format {} must be extension, text or jsonl", name));
}

void print_summary(StatusLine& line, const PrepareSummary& summary) {
  line.print(fmt::format("{} documents, {} tokens below {} ({}), from {} file{} in {}", summary.done.documents,
                         summary.done.tokens, summary.vocabulary, summary.token_type, summary.input_files,
                         summary.input_files == 1 ? "" : "s", duration_text(summary.done.seconds)));
  for (const std::string& path : summary.written) line.print("wrote " + path);
  if (summary.skipped.count > 0)
    line.print(fmt::format("skipped {} bad lines, of which the first:", summary.skipped.count));
  for (const std::string& message : summary.skipped.messages) line.print("  " + message);
}

ExitCode run(const Arguments& arguments, const Launcher&) {
  const PrepareOptions options{.inputs = arguments.values("input"),
                               .prefix = arguments.value("output"),
                               .tokenizer = arguments.value("tokenizer", "bytes"),
                               .documents = {.format = format_of(arguments.value("format", "extension")),
                                             .json_key = arguments.value("json-key", "text"),
                                             .document_separator = arguments.value("separator"),
                                             .skip_bad_lines = arguments.has("skip-bad-lines")},
                               .overwrite = arguments.has("overwrite")};
  StatusLine line(std::cerr, Terminal::of_stderr());
  std::optional<WorkProgress> progress;  // from the first report on, which tells how much there is to do
  const PrepareSummary summary = prepare(options, [&](const PrepareProgress& now) {
    const auto done = static_cast<double>(now.bytes_done), total = static_cast<double>(now.bytes_total);
    if (done > total) return line.show({"preparing", bytes_text(done)});  // out of a pipe, which has no size
    if (!progress) progress.emplace(line, "preparing", total, bytes_text);
    progress->at(done);
  });
  line.clear();
  print_summary(line, summary);
  return ExitCode::kDone;
}

}  // namespace

Verb prepare_verb() {
  return {
      .name = "prepare",
      .summary = "turn text into tokens to train on",
      .about =
          "Reads text, splits it into documents, encodes them, and writes PREFIX.bin (tokens) and PREFIX.idx "
          "(documents), the\n"
          "format of Megatron-LM. A text file is one document, or several between separators; a JSON-lines file has "
          "one a\n"
          "line, {\"text\": \"...\"}. Text must be UTF-8; an error names file and line.",
      .groups = {{"Input",
                  {{"input", "FILE...", "files and folders, in order; a folder stands for all files below it",
                    Option::Count::kList, true},
                   {"format", "NAME",
                    "text, jsonl (JSON lines), or extension: .jsonl and .json are JSON lines, all else is text. "
                    "Default: extension"},
                   {"json-key", "KEY", "the member of a JSON line that holds its text. Default: text"},
                   {"separator", "TEXT",
                    "what stands between documents of a text file, and is dropped. Default: none, a file is "
                    "a document"},
                   {"skip-bad-lines", "", "drop lines that are not valid UTF-8 or JSON, and count them"}}},
                 {"Output",
                  {{"output", "PREFIX", "of the two files; data.prefix in the configuration", Option::Count::kOnce,
                    true},
                   {"tokenizer", "NAME", "bytes: the 256 bytes and the end of a document, 257 tokens. Default: bytes"},
                   {"overwrite", "", "replace PREFIX.bin and PREFIX.idx if they are there"}}}},
      .examples = {"ropewalk prepare --input book.txt --output data/book",
                   "ropewalk prepare --input notes/ more.jsonl --output data/mine --json-key body",
                   "zcat big.jsonl.gz | ropewalk prepare --input /dev/stdin --format jsonl --output data/big"},
      .run = run};
}

}  // namespace ropewalk
