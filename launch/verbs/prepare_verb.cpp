// `ropewalk prepare`: encodes text into PREFIX.bin and PREFIX.idx.
#include <algorithm>
#include <charconv>
#include <optional>

#include "kernels/allowed_cpus.h"
#include "launch/verbs/stoppable.h"
#include "launch/verbs/verbs.h"
#include "trainer/data/prepare.h"
#include "trainer/metrics/progress.h"
#include "trainer/text/format.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {

namespace {

InputFormat format_named(const std::string& name) {
  if (name == "extension") return InputFormat::kByExtension;
  if (name == "text") return InputFormat::kText;
  if (name == "jsonl") return InputFormat::kJsonLines;
  throw ConfigurationError(fmt::format("--format {} must be extension, text or jsonl", name));
}

// The byte that an escape stands for; nullopt if it is not valid. `rest` begins after the backslash, and loses the
// escape.
std::optional<char> take_escape(std::string_view& rest) {
  constexpr std::string_view kNames = "ntr\\", kBytes = "\n\t\r\\";
  const size_t found = rest.empty() ? kNames.npos : kNames.find(rest.front());
  if (found != kNames.npos) {
    rest.remove_prefix(1);
    return kBytes[found];
  }
  unsigned byte = 0;
  if (rest.size() < 3 || rest.front() != 'x') return std::nullopt;
  if (std::from_chars(rest.data() + 1, rest.data() + 3, byte, 16).ptr != rest.data() + 3) return std::nullopt;
  rest.remove_prefix(3);
  return static_cast<char>(byte);
}

// Resolves escapes: a shell passes '\n' as a backslash and an n.
std::string separator_of(const std::string& given) {
  std::string out;
  for (std::string_view rest = given; !rest.empty();) {
    const char next = rest.front();
    rest.remove_prefix(1);
    const std::optional<char> byte = next == '\\' ? take_escape(rest) : next;
    if (!byte)
      throw ConfigurationError(
          fmt::format("--separator {}: '\\{}' is not a valid escape; use \\n \\t \\r \\xNN, and \\\\ for a backslash",
                      given, rest.substr(0, 1)));
    out += *byte;
  }
  return out;
}

std::optional<std::string> optional_value(const Arguments& arguments, const std::string& option) {
  return arguments.has(option) ? std::optional(arguments.value(option)) : std::nullopt;
}

PrepareOptions options_of(const Arguments& arguments, std::optional<std::string> tokenizer_file) {
  constexpr int64_t kMostThreads = 1024;
  const auto cpus = std::clamp<int64_t>(std::ssize(allowed_cpus()), 1, kMostThreads);
  return {.inputs = arguments.values("input"),
          .prefix = arguments.value("output"),
          .documents = {.format = format_named(arguments.value("format", "extension")),
                        .json_key = optional_value(arguments, "json-key"),
                        .document_separator = separator_of(arguments.value("separator")),
                        .skip_bad_lines = arguments.has("skip-bad-lines")},
          .chat_template =
              arguments.has("template") ? std::optional(load_chat_template(arguments.value("template"))) : std::nullopt,
          .overwrite = arguments.has("overwrite"),
          .threads = static_cast<int>(arguments.whole_number("threads", 1, kMostThreads).value_or(cpus)),
          .special_tokens = arguments.has("add-special-tokens"),
          .tokenizer_file = std::move(tokenizer_file)};
}

void print_list(StatusLine& line, const char* verb, const char* one, const char* many, const LeftOut& left_out) {
  if (left_out.count == 0) return;
  const auto told = static_cast<int64_t>(left_out.messages.size());
  line.print(fmt::format("{} {}{}", verb, counted(left_out.count, one, many),
                         told < left_out.count ? fmt::format(", the first {}:", told) : ":"));
  for (const std::string& message : left_out.messages) line.print("  " + message);
}

void print_summary(StatusLine& line, const PrepareOptions& options, const PrepareSummary& summary) {
  line.print(fmt::format("{}, {} below {} ({}), from {} in {}", counted(summary.done.documents, "document"),
                         counted(summary.done.tokens, "token"), summary.vocabulary, summary.token_type,
                         counted(summary.input_files, "file"), duration_text(summary.done.seconds)));
  if (options.chat_template)
    line.print(
        fmt::format("{} of them are targets ({:.3g}%)", summary.done.targets,
                    100.0 * static_cast<double>(summary.done.targets) / static_cast<double>(summary.done.tokens)));
  for (const std::string& path : summary.written) line.print("wrote " + printable_name(path));
  if (!summary.durable)
    line.print("warning: this file system cannot make the names of files durable (fsync of a directory)");
  if (!options.documents.document_separator.empty() && summary.separators == 0)
    line.print("warning: the --separator does not occur in the text, so each text file is one document");
  print_list(line, "warning: read as text, though they look like JSON lines (--format jsonl reads them so)", "file",
             "files", summary.json_as_text);
  print_list(line, "left out", "entry of a folder", "entries of folders", summary.left_out);
  print_list(line, "skipped", "bad line", "bad lines", summary.skipped);
}

PrepareSummary prepare_with_progress(const PrepareOptions& options, const Tokenizer& tokenizer, StatusLine& line) {
  std::optional<WorkProgress> progress;  // created by the first report, which has the total
  return prepare(options, tokenizer, [&](const PrepareProgress& now) {
    stop_if_asked();
    const auto done = static_cast<double>(now.bytes_done), total = static_cast<double>(now.bytes_total);
    if (done > total) return line.show({"preparing", bytes_text(done)});  // input from a pipe, which has no size
    if (!progress) progress.emplace(line, "preparing", total, bytes_text);
    progress->at(done);
  });
}

ExitCode run(const Arguments& arguments, const Launcher&) {
  return run_stoppable([&](StatusLine& line) {
    LoadedTokenizer chosen =
        load_tokenizer(arguments.value("tokenizer", "bytes"), optional_value(arguments, "end-of-document"));
    const PrepareOptions options = options_of(arguments, std::move(chosen.file));
    const PrepareSummary summary = prepare_with_progress(options, *chosen.tokenizer, line);
    line.clear();
    print_summary(line, options, summary);
  });
}

}  // namespace

Verb prepare_verb() {
  return {
      .name = "prepare",
      .summary = "turn text into tokens to train on",
      .about =
          "Reads text, splits it into documents, encodes them, and writes PREFIX.bin (tokens) and PREFIX.idx\n"
          "(documents) in Megatron-LM's format, and PREFIX.dataset.json, which names the tokenizer. A text file is\n"
          "one document, or several with a separator between them. A JSON-lines file has one document per line:\n"
          "{\"text\": \"...\"}. Files may be compressed by gzip or zstd, standard input too. Text must be UTF-8; an\n"
          "error names the file and the line, or the type of a file that is not text. Stopped by a signal,\n"
          "prepare writes nothing.",
      .groups =
          {{"Input",
            {{"input", "FILE...",
              "files and folders, in order; a folder stands for all files below it, each once, following links; - for "
              "standard input",
              Option::Count::kList, true},
             {"format", "NAME",
              "text, jsonl (JSON lines), or extension: .jsonl and .json are JSON lines, also with .gz or .zst behind "
              "it; all other files are text. Default: extension"},
             {"json-key", "KEY",
              "the member of a JSON line that holds its text; a line must have it exactly once. Default: text"},
             {"template", "FILE",
              "the lines are conversations to fine-tune on, {\"prompt\": ..., \"completion\": ...} or {\"messages\": "
              "[{\"role\": ..., \"content\": ...}, ...]}; FILE says how they become text and which messages are "
              "targets, as "
              "configs/templates/plain.textproto does. Writes PREFIX.targets, too"},
             {"separator", "TEXT",
              "the text between documents of a text file; it is dropped. \\n \\t \\r \\\\ and \\xNN are as in C. "
              "Default: none, a file is one document"},
             {"skip-bad-lines", "",
              "drop lines that are not UTF-8, not JSON or do not have exactly one text, and count them; a line may "
              "have up to 1 GiB"}}},
           {"Output",
            {{"output", "PREFIX", "prefix of the files; data.prefix in the configuration", Option::Count::kOnce, true},
             {"tokenizer", "NAME",
              tokenizer_choices() + ". PREFIX.tokenizer.json becomes a copy of the file. Default: bytes"},
             {"end-of-document", "TOKEN",
              "the added token that ends each document. Default: \"eos_token\" of the tokenizer_config.json beside "
              "FILE"},
             {"add-special-tokens", "",
              "put the tokens of the tokenizer's template around each document, such as the one that begins a text"},
             {"threads", "N", "threads that encode; the files do not depend on it. Default: one per CPU"},
             {"overwrite", "",
              "replace PREFIX.bin, PREFIX.idx and the files beside them if they exist; a process that has them open "
              "keeps reading the old ones"}}}},
      .examples = {"ropewalk prepare --input book.txt --output data/book      # all input files here are your own",
                   "ropewalk prepare --input notes/ more.jsonl --output data/mine --json-key body",
                   "ropewalk prepare --input poems.txt --separator '\\n\\n' --output data/poems",
                   "ropewalk prepare --input big.jsonl.gz --threads 4 --output data/big",
                   "cat more.jsonl | ropewalk prepare --input - --format jsonl --json-key body --output data/piped"},
      .run = run};
}

}  // namespace ropewalk
