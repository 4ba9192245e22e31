#include "trainer/data/prepare.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/data/dataset_facts.h"
#include "trainer/data/encoding_pipeline.h"
#include "trainer/data/file_kind.h"
#include "trainer/data/fine_tuning.h"
#include "trainer/data/indexed_writer.h"
#include "trainer/data/input_stream.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr double kSecondsBetweenReports = 0.1;

void check_options(const PrepareOptions& options) {
  if (options.inputs.empty())
    throw ConfigurationError("there is nothing to prepare: name files or folders of text with --input");
  const fs::path name = fs::path(options.prefix).filename();
  if (name.empty() || name == "." || name == "..") {
    throw ConfigurationError(
        fmt::format("--output '{}' names no file: give a path and the beginning of a file's name, as in "
                    "data/corpus",
                    printable_name(options.prefix)));
  }
  if (!is_utf8(options.documents.document_separator)) {
    throw ConfigurationError("--separator is not valid UTF-8");
  }
  if (!is_utf8(options.documents.json_key.value_or(""))) throw ConfigurationError("--json-key is not valid UTF-8");
}

// An option that applies to none of the inputs is most likely a mistake.
void check_formats(const PrepareOptions& options, const std::vector<std::string>& files) {
  const DocumentOptions& documents = options.documents;
  if (options.chat_template) {
    if (!documents.document_separator.empty() || documents.json_key || documents.format == InputFormat::kText ||
        options.special_tokens)
      throw ConfigurationError(
          "--template is for lines of conversations, and says itself which tokens are around them; leave out "
          "--separator, --json-key, --format text and --add-special-tokens");
    return;
  }
  const auto texts = std::count_if(files.begin(), files.end(), [&](const std::string& file) {
    return format_of(file, documents.format) == InputFormat::kText;
  });
  if (texts == 0 && !documents.document_separator.empty())
    throw ConfigurationError(
        "--separator is for text, and all input is JSON lines; leave it out, or use --format text");
  if (texts == std::ssize(files) && documents.json_key)
    throw ConfigurationError(
        "--json-key is for JSON lines, and all input is text; leave it out, or use --format jsonl");
}

std::vector<std::string> output_extensions() {
  std::vector<std::string> extensions = {".bin", ".idx", kTargetsExtension};
  extensions.insert(extensions.end(), std::begin(kSideExtensions), std::end(kSideExtensions));
  return extensions;
}

// Before the work begins: no input may be an output, and no output a folder.
void check_output(const PrepareOptions& options, const std::vector<std::string>& inputs) {
  std::vector<std::string> extensions = {".lock.tmp"};
  for (const std::string& extension : output_extensions()) {
    extensions.push_back(extension);
    extensions.push_back(extension + ".tmp");
  }
  for (const std::string& extension : extensions) {
    const std::string output = options.prefix + extension;
    std::error_code error;
    if (fs::symlink_status(output, error).type() == fs::file_type::directory)
      throw ConfigurationError(fmt::format("{} is a folder; choose another --output", printable_name(output)));
    if (!fs::exists(output, error)) continue;
    for (const std::string& input : inputs) {
      if (fs::equivalent(input, output, error)) {
        throw ConfigurationError(
            fmt::format("{} is an input and would be an output; choose another --output{}", printable_name(output),
                        output.ends_with(".tmp") ? ", or remove it if a killed prepare has left it" : ""));
      }
    }
  }
}

// Call while holding the prefix's lock: another prepare may have written it since this one began.
void check_output_is_free(const std::string& prefix) {
  for (const std::string& extension : output_extensions()) {
    std::error_code error;
    if (fs::symlink_status(prefix + extension, error).type() == fs::file_type::not_found) continue;
    throw ConfigurationError(fmt::format("{}{} exists; choose another --output, or replace it by --overwrite",
                                         printable_name(prefix), extension));
  }
}

// The bytes of the regular files. Opens each file once, so that a missing permission, or a file that is not text, is
// found now and not hours later.
int64_t check_inputs(const std::vector<std::string>& files) {
  int64_t bytes = 0;
  std::string beginning;
  for (const std::string& name : files) {
    std::error_code error;
    if (!fs::is_regular_file(name, error)) continue;
    InputStream stream(name);
    bytes += stream.file().size();
    beginning.resize(kKindBytes);
    beginning.resize(stream.read_next(beginning));
    refuse_foreign(name, beginning);
  }
  return bytes;
}

void create_folder_of(const std::string& prefix) {
  const fs::path folder = fs::path(prefix).parent_path();
  if (folder.empty()) return;
  try {
    make_directories(real_file_system(FileOwner::kData), folder);
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}; choose another --output", error.what()));
  }
}

// Keeps the progress, and reports it at intervals.
class Reporter {
 public:
  Reporter(int64_t bytes_total, const IndexedWriter& writer,
           const std::function<void(const PrepareProgress&)>& callback)
      : writer_(writer), callback_(callback), start_(Clock::now()) {
    progress_.bytes_total = bytes_total;
  }

  void update(int64_t bytes_done) {
    progress_.bytes_done = bytes_done;
    tell_time();
    if (progress_.seconds - reported_ >= kSecondsBetweenReports) report();
  }

  void finish() {
    tell_time();
    report();
  }

  void add_targets(int64_t count) { progress_.targets += count; }

  const PrepareProgress& progress() {
    tell_time();
    return progress_;
  }

 private:
  void tell_time() { progress_.seconds = std::chrono::duration<double>(Clock::now() - start_).count(); }

  void report() {
    progress_.documents = writer_.documents();
    progress_.tokens = writer_.tokens();
    reported_ = progress_.seconds;
    if (callback_) callback_(progress_);
  }

  const IndexedWriter& writer_;
  const std::function<void(const PrepareProgress&)>& callback_;
  Clock::time_point start_;
  PrepareProgress progress_;
  double reported_ = 0;
};

// Reads all documents into the pipeline, and waits for it.
void encode_all(const std::vector<std::string>& files, const DocumentOptions& options, EncodingPipeline& pipeline,
                Reporter& reporter, PrepareSummary& summary) {
  int64_t bytes_before = 0;  // of the files before the current one
  const DocumentSink sink = {.piece = [&](std::string_view piece) { pipeline.add(piece, AddedTokens::kRecognize); },
                             .end = [&] { pipeline.end_document(); },
                             .progress = [&](int64_t bytes) { reporter.update(bytes_before + bytes); }};
  for (const std::string& file : files) {
    pipeline.begin_file(file);
    try {
      const ReadFacts facts = read_documents(file, options, sink, summary.skipped);
      summary.separators += facts.separators;
      if (facts.is_json_too) summary.json_as_text.add(printable_name(file));
    } catch (const DataError&) {
      pipeline.finish();  // if the tokenizer refuses text before this error, that is the first error
      throw;
    }
    bytes_before = reporter.progress().bytes_done;
  }
  pipeline.finish();
}

// The same for conversations, which this thread encodes.
void encode_conversations(const std::vector<std::string>& files, const PrepareOptions& options,
                          const Tokenizer& tokenizer, IndexedWriter& writer, Reporter& reporter,
                          PrepareSummary& summary) {
  int64_t bytes_before = 0;  // of the files before the current one
  ChatEncoder encoder(*options.chat_template, tokenizer);
  const ConversationSink sink = {.add =
                                     [&](const TargetedTokens& conversation) {
                                       writer.append(conversation.ids);
                                       writer.append_targets(conversation.is_target);
                                       writer.end_document();
                                       reporter.add_targets(std::ranges::count(conversation.is_target, true));
                                     },
                                 .progress = [&](int64_t bytes) { reporter.update(bytes_before + bytes); }};
  for (const std::string& file : files) {
    read_conversations(file, options.documents, encoder, sink, summary.skipped);
    bytes_before = reporter.progress().bytes_done;
  }
}

std::vector<SideFile> side_files(const PrepareOptions& options, const Tokenizer& tokenizer, int32_t end_of_document) {
  std::vector<SideFile> files = {
      {".dataset.json", to_json({.tokenizer = tokenizer.identity(), .end_of_document = end_of_document})}};
  if (options.tokenizer_file) files.push_back({".tokenizer.json", *options.tokenizer_file});
  return files;
}

}  // namespace

PrepareSummary prepare(const PrepareOptions& options, const Tokenizer& tokenizer,
                       const std::function<void(const PrepareProgress&)>& progress) {
  check_options(options);
  const std::optional<int32_t> end_of_document = tokenizer.end_of_document();
  if (!end_of_document)
    throw ConfigurationError(fmt::format(
        "the tokenizer {} does not say which token ends a document (\"eos_token\" of a tokenizer_config.json beside "
        "it); name one by --end-of-document",
        printable_name(tokenizer.identity().name)));
  InputFiles inputs = list_input_files(options.inputs);
  const std::vector<std::string>& files = inputs.files;
  check_formats(options, files);
  check_output(options, files);
  const int64_t bytes_total = check_inputs(files);
  create_folder_of(options.prefix);

  PrepareSummary summary;
  IndexedWriter writer(options.prefix, tokenizer.vocabulary_size(), indexed::kMaxSequenceTokens,
                       real_file_system(FileOwner::kData),
                       options.chat_template ? IndexedWriter::Targets::kMasked : IndexedWriter::Targets::kAll);
  if (!options.overwrite) check_output_is_free(options.prefix);
  Reporter reporter(bytes_total, writer, progress);
  if (options.chat_template) {
    encode_conversations(files, options, tokenizer, writer, reporter, summary);
  } else {
    EncodingPipeline pipeline(
        tokenizer,
        {.threads = options.threads, .special_ids = options.special_tokens, .end_of_document = *end_of_document},
        writer);
    encode_all(files, options.documents, pipeline, reporter, summary);
  }
  if (writer.documents() == 0) {
    throw DataError(fmt::format("no text in {} ({}, {} skipped); name an --input that holds some",
                                files.size() == 1 ? printable_name(files.front()) : counted(files.size(), "file"),
                                counted(reporter.progress().bytes_done, "byte"),
                                counted(summary.skipped.count, "bad line")));
  }
  reporter.finish();
  const std::vector<SideFile> beside = side_files(options, tokenizer, *end_of_document);
  writer.finish(beside);

  summary.done = reporter.progress();
  summary.input_files = static_cast<int64_t>(files.size());
  summary.left_out = std::move(inputs.left_out);
  summary.vocabulary = tokenizer.vocabulary_size();
  summary.token_type = name_of(writer.token_type());
  summary.durable = writer.durable();
  summary.written = {options.prefix + ".bin", options.prefix + ".idx"};
  if (options.chat_template) summary.written.push_back(options.prefix + kTargetsExtension);
  for (const SideFile& file : beside) summary.written.push_back(options.prefix + file.extension);
  return summary;
}

}  // namespace ropewalk
