#include "trainer/conversion/config_keys.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "kernels/error.h"
#include "trainer/text/format.h"
#include "trainer/text/utf8.h"

namespace ropewalk {
namespace {

constexpr size_t kLongestShown = 80;

// A value as messages show it.
std::string shown(const JsonNode& value) {
  const std::string text = printable_name(json_text(value));
  if (text.size() <= kLongestShown) return text;
  return text.substr(0, length_in_whole_characters(std::string_view(text).substr(0, kLongestShown))) + "...";
}

std::string expected(std::initializer_list<std::string_view> allowed) {
  return fmt::format("must be {}", fmt::join(allowed, " or "));
}

}  // namespace

ConfigKeys::ConfigKeys(const JsonNode& config, const std::set<std::string>& ignored)
    : config_(config), ignored_(ignored) {
  for (const std::string& key : ignored) {
    seen_.insert(key);
    if (const JsonNode* value = find(key))
      reports_.push_back({KeyFate::kIgnored, key, shown(*value), "as you asked"});
    else
      refuse(key, "is not in the file, so it cannot be ignored");
  }
}

const JsonNode* ConfigKeys::find(const std::string& key) const {
  const size_t dot = key.find('.');
  const JsonNode* node = config_.find(key.substr(0, dot));
  if (!node || dot == std::string::npos) return node;
  return node->find(key.substr(dot + 1));
}

bool ConfigKeys::has(const std::string& key) const {
  const JsonNode* node = find(key);
  return node && node->kind != JsonNode::Kind::kNull && !is_ignored(key);
}

bool ConfigKeys::is_ignored(const std::string& key) const {
  return ignored_.contains(key) || ignored_.contains(key.substr(0, key.find('.')));
}

const JsonNode* ConfigKeys::look_up(const std::string& key) {
  if (is_ignored(key)) return nullptr;
  const JsonNode* node = find(key);
  if (!node) return nullptr;
  if (node->kind == JsonNode::Kind::kNull) {
    if (seen_.insert(key).second) reports_.push_back({KeyFate::kUsed, key, "null", ""});
    return nullptr;
  }
  seen_.insert(key);
  return node;
}

void ConfigKeys::use(const std::string& key, const JsonNode& value) {
  reports_.push_back({KeyFate::kUsed, key, shown(value), ""});
}

void ConfigKeys::assume(const std::string& key, const std::string& value) {
  if (!has_refused(key)) reports_.push_back({KeyFate::kAssumed, key, value, ""});
}

void ConfigKeys::refuse(const std::string& key, const std::string& rule) { refuse(key, find(key), rule); }

void ConfigKeys::refuse(const std::string& key, const JsonNode* value, const std::string& rule) {
  seen_.insert(key);
  if (!refused_.insert(key).second) return;
  problems_.add({printable_name(key), value ? shown(*value) : "", rule, ""});
}

void ConfigKeys::ignore(const std::string& key, const std::string& why) { ignore(key, find(key), why); }

void ConfigKeys::ignore(const std::string& key, const JsonNode* value, const std::string& why) {
  if (value && !is_ignored(key) && seen_.insert(key).second)
    reports_.push_back({KeyFate::kIgnored, key, shown(*value), why});
}

void ConfigKeys::must_be(const std::string& key, std::initializer_list<std::string_view> allowed,
                         const std::string& why) {
  const JsonNode* value = look_up(key);
  if (!value) return;
  const std::string text = json_text(*value);
  if (std::ranges::find(allowed, text) == allowed.end()) return refuse(key, expected(allowed) + "; " + why);
  use(key, *value);
}

std::optional<int64_t> ConfigKeys::whole(const std::string& key, int64_t least, int64_t most) {
  const JsonNode* value = look_up(key);
  if (!value) return std::nullopt;
  if (value->kind != JsonNode::Kind::kWhole || value->whole < least || value->whole > most) {
    refuse(key, fmt::format("must be a whole number, at least {} and at most {}", least, most));
    return std::nullopt;
  }
  use(key, *value);
  return value->whole;
}

std::optional<double> ConfigKeys::positive(const std::string& key) {
  const JsonNode* value = look_up(key);
  if (!value) return std::nullopt;
  const bool is_number = value->kind == JsonNode::Kind::kNumber || value->kind == JsonNode::Kind::kWhole;
  if (!is_number || !(value->number > 0) || !std::isfinite(value->number)) {
    refuse(key, "must be a number greater than 0, and finite");
    return std::nullopt;
  }
  use(key, *value);
  return value->number;
}

std::optional<std::string> ConfigKeys::text(const std::string& key) {
  const JsonNode* value = look_up(key);
  if (!value) return std::nullopt;
  if (value->kind != JsonNode::Kind::kText) {
    refuse(key, "must be a string");
    return std::nullopt;
  }
  use(key, *value);
  return value->text;
}

std::optional<bool> ConfigKeys::flag(const std::string& key) {
  const JsonNode* value = look_up(key);
  if (!value) return std::nullopt;
  if (value->kind != JsonNode::Kind::kFlag) {
    refuse(key, "must be true or false");
    return std::nullopt;
  }
  use(key, *value);
  return value->flag;
}

std::optional<std::vector<std::string>> ConfigKeys::texts(const std::string& key) {
  const JsonNode* value = look_up(key);
  if (!value) return std::nullopt;
  const auto is_text = [](const JsonNode& item) { return item.kind == JsonNode::Kind::kText; };
  if (value->kind != JsonNode::Kind::kList || !std::ranges::all_of(value->items, is_text)) {
    refuse(key, "must be a list of strings");
    return std::nullopt;
  }
  use(key, *value);
  std::vector<std::string> texts;
  for (const JsonNode& item : value->items) texts.push_back(item.text);
  return texts;
}

int64_t ConfigKeys::whole_or(const std::string& key, int64_t least, int64_t most, int64_t otherwise) {
  if (const std::optional<int64_t> value = whole(key, least, most)) return *value;
  assume(key, std::to_string(otherwise));
  return otherwise;
}

double ConfigKeys::positive_or(const std::string& key, double otherwise) {
  if (const std::optional<double> value = positive(key)) return *value;
  assume(key, fmt::format("{}", otherwise));
  return otherwise;
}

bool ConfigKeys::flag_or(const std::string& key, bool otherwise) {
  if (const std::optional<bool> value = flag(key)) return *value;
  assume(key, fmt::format("{}", otherwise));
  return otherwise;
}

int64_t ConfigKeys::required_whole(const std::string& key, int64_t least, int64_t most) {
  const std::optional<int64_t> value = whole(key, least, most);
  if (!value) refuse(key, "is missing");
  return value.value_or(least);
}

void ConfigKeys::refuse_rest(const JsonNode& object, const std::string& prefix) {
  for (const auto& [name, value] : object.members) {
    const std::string key = prefix + name;
    if (prefix.empty() && name.find('.') != std::string::npos) {  // it would pass for the key of an object
      problems_.add_at(printable_name(key), {"", "", "a key with a dot in its name is not known here", ""});
      continue;
    }
    if (seen_.contains(key)) continue;
    if (value.kind == JsonNode::Kind::kNull)
      ignore(key, &value, "null");
    else if (value.kind == JsonNode::Kind::kObject && prefix.empty() && !value.members.empty())
      refuse_rest(value, key + ".");
    else
      refuse(key, &value,
             fmt::format("is not known here, so it may change what the model computes; if it does not, add "
                         "--ignore-key {}",
                         printable_name(key)));
  }
}

void ConfigKeys::finish(const std::string& name) {
  refuse_rest(config_, "");
  problems_.throw_if_any(name);
}

}  // namespace ropewalk
