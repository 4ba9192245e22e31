// The command line: verbs with their options, their help texts and the parser of arguments. A wrong argument throws a
// ConfigurationError that suggests the nearest valid word.
#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "launch/process/launcher.h"

namespace ropewalk {

struct Option {
  std::string name;         // "set", given as --set
  std::string value;        // the placeholder in help: "FIELD=VALUE"; empty: the option takes no value
  std::string description;  // meaning, unit, default
  enum class Count { kOnce, kRepeated, kList };  // kList: one or more values after each --name
  Count count = Count::kOnce;
  bool required = false;
};

struct OptionGroup {
  std::string title;
  std::vector<Option> options;
};

// The arguments of a verb, as given.
class Arguments {
 public:
  bool has(const std::string& option) const { return values_.contains(option); }
  std::string value(const std::string& option, const std::string& otherwise = "") const;  // the last one given
  std::vector<std::string> values(const std::string& option) const;
  // The option's value as a whole number in [least, most]; nullopt if the option is not given. Throws
  // ConfigurationError for any other value.
  std::optional<int64_t> whole_number(const std::string& option, int64_t least,
                                      int64_t most = std::numeric_limits<int64_t>::max()) const;
  const std::vector<std::string>& positional() const { return positional_; }

 private:
  friend Arguments read_arguments(const struct Verb& verb, std::span<const std::string> words);
  std::map<std::string, std::vector<std::string>> values_;
  std::vector<std::string> positional_;
};

struct Verb {
  std::string name;                          // one word, or two: "tokenizer encode"
  std::string summary;                       // one line, in the list of verbs
  std::vector<std::string> positional = {};  // what must follow the verb, in order: {"CONFIG"}
  // A second way to call the verb: what follows it then ("--checkpoint DIR"), without positional arguments; empty: none
  std::string other_usage = {};
  // What is wrong with arguments that are valid one by one; "" if nothing is. Null: no such rules
  std::string (*problem)(const Arguments&) = nullptr;
  std::string about;  // paragraphs of help
  std::vector<OptionGroup> groups = {};
  std::vector<std::string> examples = {};  // "command  # what it does"
  enum class Ranks { kFirst, kAll };  // which ranks of a job run the verb: rank 0 (the others exit at once), or all
  Ranks ranks = Ranks::kFirst;
  ExitCode (*run)(const Arguments&, const Launcher&) = nullptr;
};

std::string help_text(const Verb& verb);
std::string help_text(std::span<const Verb> verbs);  // of the whole program

// Parses the words after the verb. Throws ConfigurationError if they do not fit the verb.
Arguments read_arguments(const Verb& verb, std::span<const std::string> words);

// The number of ranks: from --ranks, else from the launcher that started this process; nullopt if neither gives it.
// Throws ConfigurationError for a wrong --ranks.
std::optional<int> ranks_of(const Arguments& arguments, const Launcher& launcher);

// The verb that the words begin with; removes its name from them. Throws ConfigurationError with the nearest name, or
// with the second words that may follow.
const Verb& take_verb(std::span<const Verb> verbs, std::span<const std::string>& words);
// Of the verbs that begin with this word, if it is the first of several names ("tokenizer"); else empty.
std::string family_help(std::span<const Verb> verbs, const std::string& word);

}  // namespace ropewalk
