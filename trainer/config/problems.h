// What is wrong with a configuration, collected so that all of it can be told at once.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace ropewalk {

struct Problem {
  std::string field;   // "training.steps", or empty where there is none (a syntax error)
  std::string value;   // as the user gave it, or empty
  std::string rule;    // what holds for it: "must be at least 1"
  std::string remedy;  // what to do, or empty where the rule says it
};

class Problems {
 public:
  // Where the user set a field: "run.textproto:12:3" or "--set training.steps=0". Messages about it start with that.
  void set_origin(const std::string& field, std::string origin) { origins_[field] = std::move(origin); }
  // Forgets where `field`, and all below it, was set.
  void forget_origins(const std::string& field);
  const std::string* origin(const std::string& field) const;

  void add(Problem problem);                               // at the field's origin
  void add_at(const std::string& where, Problem problem);  // at a place in the text

  // A field whose value the user meant to give, but which could not be read, or is out of its range: that it is
  // missing, or breaks a rule between fields, is no second problem.
  void unreadable(const std::string& field) { unreadable_.insert(field); }
  bool is_unreadable(const std::string& field) const;

  bool empty() const { return count_ == 0; }
  int64_t count() const { return count_; }
  std::string text(std::string_view name) const;   // "NAME has 2 problems:\n  1. ...\n  2. ..."
  void throw_if_any(std::string_view name) const;  // ConfigurationError with all of them

 private:
  std::map<std::string, std::string> origins_;
  std::set<std::string> unreadable_;
  std::vector<std::string> lines_;  // of the first ones
  int64_t count_ = 0;
};

// A value of unknown origin made fit for a message: cut to a length, without control characters.
std::string excerpt(std::string_view value);

}  // namespace ropewalk
