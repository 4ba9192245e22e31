// Collects everything that is wrong with a configuration, to report it at once.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

struct Problem {
  std::string field;   // "training.steps"; empty for a syntax error
  std::string value;   // as the user gave it, or empty
  std::string rule;    // what must hold, or is wrong: "must be at least 1", "is not set"
  std::string remedy;  // what to do; empty if the rule says it
};

class Problems {
 public:
  // Where the user set a field: "run.textproto:12:3" or "--set training.steps=0". Messages about the field start with
  // that place.
  void set_origin(const std::string& field, std::string origin) { origins_[field] = std::move(origin); }
  // Forgets where `field`, and all fields below it, were set.
  void forget_origins(const std::string& field);
  const std::string* origin(const std::string& field) const;

  void add(Problem problem);                               // at the field's origin
  void add_at(const std::string& where, Problem problem);  // at a place in the text

  // Marks a field about which a problem is recorded already: its value could not be read or is out of range, its name
  // was misspelled, or it is missing. Later rules skip the field, so that one mistake is reported once.
  void unreadable(const std::string& field) { unreadable_.insert(field); }
  bool is_unreadable(const std::string& field) const;

  bool empty() const { return count_ == 0; }
  int64_t count() const { return count_; }
  std::string text(std::string_view name) const;   // "NAME has 2 problems:\n  1. ...\n  2. ..."
  void throw_if_any(std::string_view name) const;  // ConfigurationError with all of them

 private:
  std::map<std::string, std::string> origins_;
  std::set<std::string> unreadable_;
  std::vector<std::string> lines_;  // of the first 100 problems; count_ counts all
  int64_t count_ = 0;
};

// An untrusted value as a message shows it: at most 80 bytes, with '?' for all but printable ASCII.
std::string excerpt(std::string_view value);

}  // namespace ropewalk
