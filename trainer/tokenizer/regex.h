// Regular expressions of a tokenizer.json that no scanner (scanner.h) knows. They are written for Oniguruma, and PCRE2
// runs them; what the two understand differently is refused.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

class Regex {
 public:
  // Throws DataError naming the place for a pattern that PCRE2 cannot compile, or that would match otherwise than in
  // Oniguruma.
  explicit Regex(const std::string& pattern);
  ~Regex();
  Regex(Regex&&) noexcept;

  struct Match {
    size_t begin, end;
  };
  // The matches in `text`, one after the other, none of them empty. If the text does not `end`, only those that no
  // continuation can change. Throws DataError if a match takes more steps than the limit.
  std::vector<Match> matches(std::string_view text, bool ends) const;

  // The pattern looks at what precedes a match, so a text must be matched as a whole.
  bool looks_behind() const { return looks_behind_; }

  static std::string unicode_version();  // "14.0.0": which characters \p{L} and the like match

 private:
  struct Code;
  std::unique_ptr<Code> code_;
  bool looks_behind_ = false;
};

}  // namespace ropewalk
