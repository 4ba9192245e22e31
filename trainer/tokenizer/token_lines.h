// The lines of `ropewalk tokenizer`: {"text": "..."} and {"ids": [1, 2]}, JSON objects whose other members are ignored.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

class TokenLineReader {
 public:
  TokenLineReader();
  ~TokenLineReader();
  // What a line holds. Throw DataError, saying what is wrong with the line.
  std::string text(std::string_view line);
  std::vector<int32_t> ids(std::string_view line, int64_t vocabulary);  // all are in [0, vocabulary)

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

// With a newline at the end.
std::string line_of_ids(std::span<const int32_t> ids);
std::string line_of_text(std::string_view text);  // in UTF-8

}  // namespace ropewalk
