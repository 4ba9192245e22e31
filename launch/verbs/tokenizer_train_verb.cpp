// `ropewalk tokenizer train`: learns a tokenizer from text.
#include <algorithm>
#include <filesystem>
#include <set>

#include "kernels/allowed_cpus.h"
#include "launch/verbs/stoppable.h"
#include "launch/verbs/verbs.h"
#include "trainer/data/documents.h"
#include "trainer/files/output_file.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/learn_merges.h"
#include "trainer/tokenizer/published_patterns.h"
#include "trainer/tokenizer/write_tokenizer.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMostTokens = 10'000'000, kMostThreads = 1024;

struct Request {
  std::vector<std::string> inputs;
  fs::path output;
  std::vector<PreTokenizerStep> steps;
  LearningOptions learning;
  int threads = 1;
  bool overwrite = false;
};

std::vector<PreTokenizerStep> steps_named(const std::string& name) {
  using Kind = PreTokenizerStep::Kind;
  const PreTokenizerStep bytes{.kind = Kind::kByteLevel, .pattern = "", .use_regex = false};
  const PreTokenizerStep gpt2{.kind = Kind::kByteLevel, .pattern = ""};
  const PreTokenizerStep digits{.kind = Kind::kDigits, .pattern = "", .individual_digits = true};
  const auto regex = [](std::string_view pattern) {
    return PreTokenizerStep{.kind = Kind::kRegex, .pattern = std::string(pattern)};
  };
  if (name == "gpt2") return {gpt2};
  if (name == "command-r") return {digits, gpt2};
  if (name == "llama3") return {regex(kLlama3Pattern), bytes};
  if (name == "qwen2") return {regex(kQwen2Pattern), bytes};
  if (name == "o200k") return {regex(kO200kPattern), bytes};
  throw ConfigurationError(fmt::format("--pattern {} must be gpt2, llama3, qwen2, o200k or command-r", name));
}

std::vector<std::string> special_tokens_of(const Arguments& arguments) {
  std::vector<std::string> tokens = arguments.values("special-token");
  if (tokens.empty()) tokens = {"<|endoftext|>"};
  std::set<std::string> known;
  for (const std::string& token : tokens) {
    if (token.empty() || !is_utf8(token)) throw ConfigurationError("a --special-token is empty, or not valid UTF-8");
    if (!known.insert(token).second)
      throw ConfigurationError(fmt::format("--special-token {} is given twice", in_quotes(token)));
  }
  return tokens;
}

Request request_of(const Arguments& arguments) {
  Request request{.inputs = arguments.values("input"),
                  .output = arguments.value("output"),
                  .steps = steps_named(arguments.value("pattern", "gpt2")),
                  .learning = {},
                  .overwrite = arguments.has("overwrite")};
  request.learning.special_tokens = special_tokens_of(arguments);
  const int64_t least = 256 + std::ssize(request.learning.special_tokens);
  request.learning.vocabulary = arguments.whole_number("vocabulary", least, kMostTokens).value();
  request.learning.least_count = arguments.whole_number("minimum-count", 0).value_or(0);
  const int64_t cpus = std::clamp<int64_t>(std::ssize(allowed_cpus()), 1, kMostThreads);
  request.threads = static_cast<int>(arguments.whole_number("threads", 1, kMostThreads).value_or(cpus));
  if (request.output.filename().empty() || fs::is_directory(request.output))
    throw ConfigurationError(fmt::format("--output {} is a folder; name a file in it, such as tokenizer.json",
                                         printable_name(request.output.string())));
  return request;
}

fs::path config_of(const Request& request) { return request.output.parent_path() / "tokenizer_config.json"; }

void check_free(const Request& request) {
  if (request.overwrite) return;
  for (const fs::path& path : {request.output, config_of(request)}) {
    if (kind_of(path, FileOwner::kData) == PathKind::kNone) continue;
    throw ConfigurationError(
        fmt::format("{} exists; choose another --output, or replace it by --overwrite", printable_name(path.string())));
  }
}

std::vector<WordCount> count_words(const Request& request, StatusLine& line) {
  const std::vector<std::string> files = list_input_files(request.inputs).files;
  int64_t total = 0, before = 0, documents = 0;
  for (const std::string& file : files) {
    std::error_code error;
    if (fs::is_regular_file(file, error)) total += static_cast<int64_t>(fs::file_size(file, error));
  }
  WorkProgress progress(line, "counting words", static_cast<double>(total), bytes_text);
  const std::unique_ptr<PreTokenizer> pre_tokenizer = make_pre_tokenizer(request.steps);
  WordCounter counter(*pre_tokenizer, request.threads);
  int64_t here = 0;
  const DocumentSink sink{.piece = [&](std::string_view piece) { counter.append(piece); },
                          .end =
                              [&] {
                                counter.end_document();
                                ++documents;
                              },
                          .progress =
                              [&](int64_t bytes) {
                                stop_if_asked();
                                here = bytes;
                                progress.at(static_cast<double>(before + bytes));
                              }};
  LeftOut skipped;
  for (const std::string& file : files) {
    read_documents(file, {}, sink, skipped);
    before += std::exchange(here, 0);
  }
  std::vector<WordCount> words = counter.finish();
  if (words.empty()) throw DataError("there is no text in the input; name an --input that holds some");
  int64_t occurrences = 0;
  for (const WordCount& word : words) occurrences += word.count;
  line.clear();
  line.print(fmt::format("{}, {}, {}", counted(documents, "document"), counted(occurrences, "word"),
                         counted(std::ssize(words), "different word")));
  return words;
}

LearntEncoding learn(const std::vector<WordCount>& words, const Request& request, StatusLine& line) {
  WorkProgress progress(line, "learning tokens", static_cast<double>(request.learning.vocabulary),
                        [](double tokens) { return counted(static_cast<int64_t>(tokens), "token"); });
  LearntEncoding encoding = learn_merges(words, request.learning, [&](int64_t tokens) {
    stop_if_asked();
    progress.at(static_cast<double>(tokens));
  });
  if (std::ssize(encoding.tokens) < request.learning.vocabulary) {
    throw DataError(fmt::format(
        "the text gives only {}, of --vocabulary {}: no other pair occurs{}; lower --vocabulary, or give more text",
        counted(std::ssize(encoding.tokens), "token"), request.learning.vocabulary,
        request.learning.least_count > 1 ? fmt::format(" {} times", request.learning.least_count) : ""));
  }
  return encoding;
}

ExitCode train(const Arguments& arguments, const Launcher&) {
  return run_stoppable([&](StatusLine& line) {
    const Request request = request_of(arguments);
    check_free(request);
    const std::vector<WordCount> words = count_words(request, line);
    const LearntEncoding encoding = learn(words, request, line);
    line.clear();
    FileSystem& system = real_file_system(FileOwner::kData);
    make_directories(system, request.output.parent_path());
    check_free(request);
    const std::vector<std::string>& special = request.learning.special_tokens;
    replace_file(system, config_of(request), tokenizer_config_json(special.front()));
    replace_file(system, request.output, tokenizer_json(encoding, special, request.steps));
    line.print(fmt::format("{}, {} of them learnt; {} ends a document", counted(std::ssize(encoding.tokens), "token"),
                           std::ssize(encoding.tokens) - 256 - std::ssize(special), special.front()));
    for (const fs::path& path : {request.output, config_of(request)})
      line.print("wrote " + printable_name(path.string()));
  });
}

}  // namespace

Verb tokenizer_train_verb() {
  return {
      .name = "tokenizer train",
      .summary = "learn a tokenizer from text",
      .about =
          "Learns a byte-level byte-pair encoding, and writes a tokenizer.json that Hugging Face's tokenizers and\n"
          "`ropewalk prepare` load, and a tokenizer_config.json beside it that says what ends a document. The same\n"
          "text gives the same file on every run, with any number of threads: the merges are those of Hugging Face's\n"
          "BpeTrainer. Memory grows with the number of different words, and with the longest word. Input is read as by\n"
          "`ropewalk prepare`.",
      .groups = {{"Options",
                  {{"input", "FILE...", "files and folders of text or JSON lines; - for standard input",
                    Option::Count::kList, true},
                   {"vocabulary", "N", "tokens in all, with the 256 bytes and the special tokens", Option::Count::kOnce,
                    true},
                   {"output", "FILE", "the tokenizer.json", Option::Count::kOnce, true},
                   {"pattern", "NAME",
                    "how text is split into words: gpt2, llama3 (numbers of up to three digits), qwen2 (each digit "
                    "alone), o200k (as GPT-4o) or command-r (as gpt2, each digit alone). Default: gpt2"},
                   {"special-token", "TEXT",
                    "a special token; may be repeated. The first ends documents. Default: <|endoftext|>",
                    Option::Count::kRepeated},
                   {"minimum-count", "N", "merge no pair that occurs less often. Default: 0"},
                   {"threads", "N", "that count words. Default: one per CPU"},
                   {"overwrite", "", "replace the two files if they exist"}}}},
      .examples = {"ropewalk tokenizer train --input book.txt --vocabulary 1000 --output tokenizer/tokenizer.json"},
      .run = train};
}

}  // namespace ropewalk
