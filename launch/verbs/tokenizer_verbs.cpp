// `ropewalk tokenizer encode` and `decode`: from text to ids and back, a line of JSON at a time.
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <functional>
#include <system_error>

#include "launch/process/output.h"
#include "launch/verbs/stoppable.h"
#include "launch/verbs/verbs.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/make_tokenizer.h"
#include "trainer/tokenizer/token_lines.h"

namespace ropewalk {
namespace {

struct OutputClosed {};  // whoever read standard output has had enough, such as `head`

void send(std::string_view answers) {
  const int error = write_all(STDOUT_FILENO, answers);
  if (error == EPIPE) throw OutputClosed();
  if (error != 0) throw std::system_error(error, std::generic_category(), "cannot write to standard output");
}

// Reads standard input and writes what `convert` makes of each line. All complete lines that have arrived are answered
// before it waits for more, so another program can talk to this one.
void convert_lines(const std::function<std::string(std::string_view line)>& convert) {
  constexpr size_t kAtOnce = size_t{1} << 20;
  std::string held, answers;
  int64_t line_number = 0;
  const auto answer = [&](std::string_view line) {
    ++line_number;
    if (line.ends_with('\r')) line.remove_suffix(1);
    try {
      answers += convert(line);
    } catch (const DataError& error) {
      send(answers);  // of the lines before
      throw DataError(fmt::format("standard input:{}: {}", line_number, error.what()));
    }
  };
  for (bool more = true; more;) {
    const size_t before = held.size();
    held.resize(before + kAtOnce);
    const ssize_t got = ::read(STDIN_FILENO, held.data() + before, kAtOnce);
    if (got < 0 && errno != EINTR)
      throw std::system_error(errno, std::generic_category(), "cannot read standard input");
    stop_if_asked();
    held.resize(before + static_cast<size_t>(std::max<ssize_t>(got, 0)));
    more = got != 0;
    size_t begin = 0;
    for (size_t end = held.find('\n', before); end != held.npos; end = held.find('\n', begin)) {
      answer(std::string_view(held).substr(begin, end - begin));
      begin = end + 1;
    }
    held.erase(0, begin);
    if (!more && !held.empty()) answer(held);  // the last line may lack its newline
    send(answers);
    answers.clear();
  }
}

// Ends as a filter does: without a word if its output is closed, with the code of a process that SIGPIPE has killed.
ExitCode run_filter(const std::function<void()>& work) {
  try {
    return run_stoppable([&](StatusLine&) { work(); }, "the lines that were answered are complete");
  } catch (const OutputClosed&) {
    return static_cast<ExitCode>(128 + SIGPIPE);
  }
}

Option tokenizer_option() { return {"tokenizer", "NAME", tokenizer_choices(), Option::Count::kOnce, true}; }

ExitCode encode(const Arguments& arguments, const Launcher&) {
  return run_filter([&] {
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(arguments.value("tokenizer"));
    const std::unique_ptr<Encoder> encoder = tokenizer->make_encoder();
    const Tokenizer::Template special =
        arguments.has("add-special-tokens") ? tokenizer->special_ids() : Tokenizer::Template();
    TokenLineReader reader;
    convert_lines([&](std::string_view line) {
      std::vector<int32_t> ids = special.before;
      encoder->append(reader.text(line), AddedTokens::kRecognize, ids);
      encoder->finish(ids);
      ids.insert(ids.end(), special.after.begin(), special.after.end());
      return line_of_ids(ids);
    });
  });
}

ExitCode decode(const Arguments& arguments, const Launcher&) {
  return run_filter([&] {
    const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(arguments.value("tokenizer"));
    const auto special = arguments.has("keep-special-tokens") ? Tokenizer::Special::kWrite : Tokenizer::Special::kSkip;
    TokenLineReader reader;
    convert_lines([&](std::string_view line) {
      const std::vector<int32_t> ids = reader.ids(line, tokenizer->vocabulary_size());
      return line_of_text(replace_invalid_utf8(tokenizer->decode(ids, special)));
    });
  });
}

}  // namespace

Verb tokenizer_encode_verb() {
  return {
      .name = "tokenizer encode",
      .summary = "turn text into token ids",
      .about =
          "Reads JSON lines {\"text\": \"...\"} from standard input, and writes {\"ids\": [...]} for each, in order.\n"
          "The ids are those of Hugging Face's tokenizers. Text that spells a special token becomes that token.\n"
          "A line is answered as soon as it is complete, so another program can talk to this one.",
      .groups = {{"Options",
                  {tokenizer_option(),
                   {"add-special-tokens", "",
                    "put the ids of the tokenizer's template around each text, such as the one that begins a "
                    "document"}}}},
      .examples = {"echo '{\"text\": \"Hello world\"}' | ropewalk tokenizer encode --tokenizer bytes"},
      .run = encode};
}

Verb tokenizer_decode_verb() {
  return {
      .name = "tokenizer decode",
      .summary = "turn token ids into text",
      .about =
          "Reads JSON lines {\"ids\": [...]} from standard input, and writes {\"text\": \"...\"} for each, in order.\n"
          "Bytes that are no UTF-8 become U+FFFD.",
      .groups = {{"Options",
                  {tokenizer_option(),
                   {"keep-special-tokens", "", "write special tokens as their text; else they are left out"}}}},
      .examples = {"echo '{\"ids\": [72, 105, 256]}' | ropewalk tokenizer decode --tokenizer bytes"},
      .run = decode};
}

}  // namespace ropewalk
