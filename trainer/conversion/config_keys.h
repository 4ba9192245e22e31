// Reads the keys of a model's config.json, and records what became of each. At the end every key was used, was ignored
// on purpose, or is refused: nothing in the file is passed over in silence.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "trainer/config/problems.h"
#include "trainer/formats/json_tree.h"

namespace ropewalk {

enum class KeyFate {
  kUsed,
  kAssumed,  // it is not in the file; transformers' own default is used
  kIgnored,
};

struct KeyReport {
  KeyFate fate;
  std::string key;    // "rope_parameters.rope_theta" for a member of an object
  std::string value;  // as JSON
  std::string note;   // kIgnored: why
};

class ConfigKeys {
 public:
  // config: the object in config.json. ignored: keys that the user wants ignored, whatever their value.
  ConfigKeys(const JsonNode& config, const std::set<std::string>& ignored);

  // The value of a key. A null counts as absent. If the value has another type or lies outside the range, the key is
  // refused, and the result is as if it were absent.
  std::optional<int64_t> whole(const std::string& key, int64_t least, int64_t most);
  std::optional<double> positive(const std::string& key);  // finite
  std::optional<std::string> text(const std::string& key);
  std::optional<bool> flag(const std::string& key);
  std::optional<std::vector<std::string>> texts(const std::string& key);
  // The same for a key that may be absent, with the default that transformers gives it.
  int64_t whole_or(const std::string& key, int64_t least, int64_t most, int64_t otherwise);
  double positive_or(const std::string& key, double otherwise);
  bool flag_or(const std::string& key, bool otherwise);
  // The same for a key that must be there; otherwise it is refused, and the result is some valid value.
  int64_t required_whole(const std::string& key, int64_t least, int64_t most);

  bool has(const std::string& key) const;  // it is there, is not null and is not ignored
  // Refuses the key if it is there and its value is none of `allowed` (JSON texts). why: of what the other values mean.
  void must_be(const std::string& key, std::initializer_list<std::string_view> allowed, const std::string& why);
  void ignore(const std::string& key, const std::string& why);
  void refuse(const std::string& key, const std::string& rule);  // "must be ...", "is ..."
  bool has_refused(const std::string& key) const { return refused_.contains(key); }

  // Refuses all keys that nothing above has looked at. Then throws ConfigurationError with all problems, if there are
  // any; name: what the message calls the file.
  void finish(const std::string& name);
  const std::vector<KeyReport>& reports() const { return reports_; }

 private:
  const JsonNode* find(const std::string& key) const;
  bool is_ignored(const std::string& key) const;    // the key, or the object that it is a member of
  const JsonNode* look_up(const std::string& key);  // also marks it as looked at; null if absent or null
  void use(const std::string& key, const JsonNode& value);
  void assume(const std::string& key, const std::string& value);
  // value: null if the key is not there.
  void ignore(const std::string& key, const JsonNode* value, const std::string& why);
  void refuse(const std::string& key, const JsonNode* value, const std::string& rule);
  void refuse_rest(const JsonNode& object, const std::string& prefix);

  const JsonNode& config_;
  const std::set<std::string>& ignored_;
  std::set<std::string> seen_, refused_;
  std::vector<KeyReport> reports_;
  Problems problems_;
};

}  // namespace ropewalk
