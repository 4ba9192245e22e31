#include "trainer/data/json_scan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hexadecimal(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Works without recursion: a level of nesting costs one bit, no stack. Functions return false after a problem.
class JsonScanner {
 public:
  using Member = std::function<void(std::string_view key, std::string_view value)>;

  JsonScanner(std::string_view text, const Member& member) : text_(text), member_(member) {}

  std::optional<JsonProblem> scan() {
    blanks();
    bool good = value();
    while (good && !open_.empty()) good = step();
    blanks();
    if (good && at_ < text_.size()) fail(next_is(',') ? "a comma after the value" : "something after the value");
    return problem_;
  }

 private:
  // In an array or object: scans its end, or its next entry.
  bool step() {
    blanks();
    const bool object = open_.back();
    const char end = object ? '}' : ']';
    if (take(end)) {
      open_.pop_back();
      return end_value();
    }
    if (!begun_) {
      if (!take(',')) return fail(fmt::format("no comma and no {}", end));
      blanks();
      if (next_is(end)) return fail(fmt::format("a comma before the {}", end));
    }
    return (!object || key()) && value();
  }

  bool key() {
    const size_t begin = at_;
    if (!next_is('"')) return fail("no member's name in double quotes");
    if (!string()) return false;
    if (open_.size() == 1) key_ = text_.substr(begin, at_ - begin);
    blanks();
    if (!take(':')) return fail("no colon after a member's name");
    blanks();
    return true;
  }

  // Scans a scalar, or the opening bracket of an array or object.
  bool value() {
    if (open_.size() == 1) value_begin_ = at_;
    if (next_is('{') || next_is('[')) {
      open_.push_back(next_is('{'));
      ++at_;
      begun_ = true;
      return true;
    }
    return (next_is('"') ? string() : next_is('-') || next_is_digit() ? number() : literal()) && end_value();
  }

  bool end_value() {
    begun_ = false;
    if (open_.size() == 1 && open_.front()) member_(key_, text_.substr(value_begin_, at_ - value_begin_));
    return true;
  }

  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (take('"')) return true;
      if (static_cast<unsigned char>(c) < 0x20) return fail("a control character in a string");
      if (c == '\\' && !escape()) return false;
    }
    return fail("a string without its end");
  }

  // Ends on the escape's last byte.
  bool escape() {
    const std::string_view rest = text_.substr(at_ + 1);
    if (rest.starts_with('u')) {
      const std::string_view digits = rest.substr(1, 4);
      if (digits.size() < 4 || !std::all_of(digits.begin(), digits.end(), is_hexadecimal))
        return fail("an escape \\u without four hexadecimal digits");
      at_ += 5;
      return true;
    }
    if (rest.empty() || std::string_view("\"\\/bfnrt").find(rest.front()) == std::string_view::npos)
      return fail("an unknown escape in a string");
    ++at_;
    return true;
  }

  bool number() {
    take('-');
    if (take('0')) {
      if (next_is_digit()) return fail("a number with a zero in front");
    } else if (!digits()) {
      return fail("no digit in a number");
    }
    if (take('.') && !digits()) return fail("no digit after the point of a number");
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return fail("no digit in the exponent of a number");
    }
    return true;
  }

  bool digits() {
    const size_t begin = at_;
    while (next_is_digit()) ++at_;
    return at_ > begin;
  }

  bool literal() {
    for (const std::string_view word : {"true", "false", "null"}) {
      if (!text_.substr(at_).starts_with(word)) continue;
      at_ += word.size();
      return true;
    }
    return fail("no value");
  }

  void blanks() { at_ = std::min(text_.find_first_not_of(" \t\r\n", at_), text_.size()); }
  bool next_is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool next_is_digit() const { return at_ < text_.size() && is_digit(text_[at_]); }
  bool take(char c) {
    const bool is_next = next_is(c);
    at_ += is_next;
    return is_next;
  }
  bool fail(std::string what) {
    problem_ = JsonProblem{at_, std::move(what)};
    return false;
  }

  std::string_view text_;
  const Member& member_;
  size_t at_ = 0;
  std::vector<bool> open_;  // enclosing values, outermost first; true: object, false: array
  bool begun_ = false;      // just after the opening bracket of the innermost value
  std::string_view key_;    // of the outermost object's current member
  size_t value_begin_ = 0;
  std::optional<JsonProblem> problem_;
};

}  // namespace

std::optional<JsonProblem> scan_json(std::string_view text,
                                     const std::function<void(std::string_view key, std::string_view value)>& member) {
  return JsonScanner(text, member).scan();
}

}  // namespace ropewalk
