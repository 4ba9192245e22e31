#include "trainer/evaluation/scoring_request.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "kernels/error.h"
#include "trainer/data/document_readers.h"
#include "trainer/data/documents.h"
#include "trainer/data/json_scan.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

constexpr const char* kForms =
    R"(write {"context": "...", "continuation": "..."} or {"context_ids": [...], "continuation_ids": [...]})";

enum Member : size_t { kContext, kContinuation, kContextIds, kContinuationIds };
constexpr std::array<std::string_view, 4> kNames = {"context", "continuation", "context_ids", "continuation_ids"};
using Members = std::array<std::optional<std::string_view>, kNames.size()>;  // values as they are written

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) {
  throw DataError(fmt::format(format, std::forward<Args>(args)...));
}

// Returns `file` if it is a regular file.
const std::string& regular(const std::string& file) {
  std::error_code error;
  if (std::filesystem::exists(file, error) && !std::filesystem::is_regular_file(file, error))
    refuse("{} is not a regular file, and requests are read twice; write them to a file", printable_name(file));
  return file;
}

// The text of a JSON string that is valid by the grammar; nullopt if it has a lone surrogate, which is no character.
std::optional<std::string> text_of(std::string_view written) {
  const nlohmann::json value = nlohmann::json::parse(written, nullptr, /*allow_exceptions=*/false);
  return value.is_string() ? std::optional(value.get<std::string>()) : std::nullopt;
}

Members members_of(std::string_view line) {
  if (!is_utf8(line)) throw DataError(describe_invalid_utf8(line));
  Members found;
  const auto problem = scan_json(line, [&](std::string_view key, std::string_view value) {
    const std::optional<std::string> name = text_of(key);
    const auto at = name ? std::ranges::find(kNames, *name) : kNames.end();
    if (at == kNames.end()) return;
    std::optional<std::string_view>& member = found[static_cast<size_t>(at - kNames.begin())];
    if (member) refuse("the object has more than one member \"{}\"", *name);
    member = value;
  });
  if (problem) refuse("not JSON: {} at byte {} of the line; {}", problem->what, problem->position + 1, kForms);
  return found;
}

std::string text_in(const Members& members, Member member) {
  const std::string_view written = *members[member];
  if (written.front() != '"') refuse("\"{}\" is not a string", kNames[member]);
  std::optional<std::string> text = text_of(written);
  if (!text) refuse("\"{}\" has a lone surrogate, half of a character", kNames[member]);
  return *text;
}

std::vector<int32_t> ids_in(const Members& members, Member member, int64_t vocabulary) {
  constexpr std::string_view kBlanks = " \t\r\n";
  std::string_view rest = *members[member];
  if (rest.front() != '[') refuse("\"{}\" is not a list of token ids", kNames[member]);
  rest = rest.substr(1, rest.size() - 2);
  std::vector<int32_t> ids;
  if (rest.find_first_not_of(kBlanks) == rest.npos) return ids;
  for (bool last = false; !last;) {
    std::string_view entry = rest.substr(0, rest.find(','));
    last = entry.size() == rest.size();
    if (!last) rest.remove_prefix(entry.size() + 1);
    entry.remove_prefix(entry.find_first_not_of(kBlanks));
    entry = entry.substr(0, entry.find_last_not_of(kBlanks) + 1);
    int64_t id = -1;
    const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), id);
    if (error != std::errc() || end != entry.data() + entry.size() || id < 0 || id >= vocabulary)
      refuse("entry {} of \"{}\" is {}; the model's token ids are the whole numbers from 0 to {}", ids.size() + 1,
             kNames[member], in_quotes(entry), vocabulary - 1);
    ids.push_back(static_cast<int32_t>(id));
  }
  return ids;
}

ScoringRequest request_of_ids(const Members& members, int64_t vocabulary) {
  ScoringRequest request{.tokens = ids_in(members, kContextIds, vocabulary)};
  if (request.tokens.empty())
    refuse(
        "\"context_ids\" is empty, so nothing precedes the first token of the continuation; give it the token that "
        "begins a document in the model's training data");
  const std::vector<int32_t> continuation = ids_in(members, kContinuationIds, vocabulary);
  if (continuation.empty()) refuse("\"continuation_ids\" is empty: there is nothing to score");
  request.targets = std::ssize(continuation);
  request.tokens.insert(request.tokens.end(), continuation.begin(), continuation.end());
  return request;
}

ScoringRequest request_of_text(const Members& members, const Tokenizer* tokenizer) {
  if (!tokenizer)
    refuse("text needs a tokenizer: name one by --tokenizer, or give \"context_ids\" and \"continuation_ids\"");
  const std::string context = text_in(members, kContext), continuation = text_in(members, kContinuation);
  if (continuation.empty()) refuse("\"continuation\" is empty: there is nothing to score");
  const int64_t before = std::ssize(tokenizer->encode(context));
  ScoringRequest request{.tokens = tokenizer->encode(context + continuation)};
  request.targets = std::ssize(request.tokens) - before;
  if (request.targets < 1) refuse("after this context, the tokenizer gives \"continuation\" no token of its own");
  if (before == 0) {
    const std::optional<int32_t> end = tokenizer->end_of_document();
    if (!end) refuse("\"context\" is empty, and the tokenizer's files do not say which token stands between documents");
    request.tokens.insert(request.tokens.begin(), *end);
  }
  return request;
}

ScoringRequest request_of(std::string_view line, const Tokenizer* tokenizer, int64_t vocabulary) {
  const Members members = members_of(line);
  if (line[line.find_first_not_of(" \t\r")] != '{') refuse("not a JSON object; {}", kForms);
  const bool text = members[kContext] || members[kContinuation],
             ids = members[kContextIds] || members[kContinuationIds];
  if (text && ids) refuse("the object has members of both forms; {}", kForms);
  if (!text && !ids) refuse("the object has no request; {}", kForms);
  for (const Member member : {text ? kContext : kContextIds, text ? kContinuation : kContinuationIds})
    if (!members[member]) refuse("the object has no member \"{}\"", kNames[member]);
  return text ? request_of_text(members, tokenizer) : request_of_ids(members, vocabulary);
}

template <typename T>
void append(std::span<const T> values, std::string& to) {
  to.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

// Removes the first values.size() values from the front of `from`.
template <typename T>
void take(std::string_view& from, std::span<T> values) {
  std::memcpy(values.data(), from.data(), values.size_bytes());
  from.remove_prefix(values.size_bytes());
}

using Header = std::array<int64_t, 3>;  // of a request in a message: line, targets, tokens

void append(const ScoringRequest& request, std::string& to) {
  append<int64_t>(Header{request.line, request.targets, std::ssize(request.tokens)}, to);
  append<int32_t>(request.tokens, to);
}

ScoringRequest take_request(std::string_view& from) {
  Header header;
  take<int64_t>(from, header);
  ScoringRequest request{header[0], std::vector<int32_t>(static_cast<size_t>(header[2])), header[1]};
  take<int32_t>(from, request.tokens);
  return request;
}

}  // namespace

ScoringRequests::ScoringRequests(const std::string& file, const Tokenizer* tokenizer, int64_t vocabulary)
    : file_(file),
      tokenizer_(tokenizer),
      vocabulary_(vocabulary),
      blocks_(regular(file), TextBlocks::End::kLine, DocumentOptions::kBlockBytes) {}

std::string_view ScoringRequests::next_line() {
  while (true) {
    if (block_.empty()) block_ = blocks_.next();
    if (block_.empty()) return {};
    const std::string_view line = block_.substr(0, block_.find('\n'));
    block_.remove_prefix(std::min(line.size() + 1, block_.size()));
    ++line_;
    if (line.find_first_not_of(" \t\r") != line.npos) return line;
  }
}

std::optional<ScoringRequest> ScoringRequests::next() {
  const std::string_view line = next_line();
  if (line.empty()) return std::nullopt;
  try {
    ScoringRequest request = request_of(line, tokenizer_, vocabulary_);
    request.line = line_;
    return request;
  } catch (const DataError& error) {
    throw DataError(fmt::format("{}:{}: {}", printable_name(file_), line_, error.what()));
  }
}

void RequestTotals::add(const ScoringRequest& request) {
  requests += 1;
  tokens += request.length();
  longest = std::max(longest, request.length());
}

std::string read_requests(ScoringRequests& file, int64_t tokens) {
  std::string bytes;
  for (int64_t read = 0; read < tokens;) {
    const std::optional<ScoringRequest> request = file.next();
    if (!request) break;
    read += request->length();
    append(*request, bytes);
  }
  return bytes;
}

std::vector<ScoringRequest> requests_in(std::string_view bytes) {
  std::vector<ScoringRequest> requests;
  while (!bytes.empty()) requests.push_back(take_request(bytes));
  return requests;
}

}  // namespace ropewalk
