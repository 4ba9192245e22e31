#include "trainer/config/problems.h"

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

constexpr int64_t kShown = 100;  // thousands of layers may each break a rule

std::string line_of(const std::string& where, const Problem& problem) {
  std::string line = where;
  const auto append = [&line](std::string_view separator, const std::string& part) {
    if (part.empty()) return;
    if (!line.empty()) line += separator;
    line += part;
  };
  append(": ", problem.field);
  append(" = ", problem.value);
  append(problem.value.empty() && !problem.field.empty() ? " " : ": ", problem.rule);
  append("; ", problem.remedy);
  return line;
}

}  // namespace

void Problems::forget_origins(const std::string& field) {
  const std::string below = field + ".";
  origins_.erase(field);
  origins_.erase(origins_.lower_bound(below), origins_.lower_bound(field + "/"));  // '/' comes after '.'
}

const std::string* Problems::origin(const std::string& field) const {
  const auto found = origins_.find(field);
  return found == origins_.end() ? nullptr : &found->second;
}

bool Problems::is_unreadable(const std::string& field) const {
  // If a group of fields could not be read, neither could the fields below it.
  for (size_t dot = field.find('.'); dot != std::string::npos; dot = field.find('.', dot + 1))
    if (unreadable_.contains(field.substr(0, dot))) return true;
  return unreadable_.contains(field);
}

void Problems::add(Problem problem) {
  const std::string* where = origin(problem.field);
  add_at(where ? *where : "", std::move(problem));
}

void Problems::add_at(const std::string& where, Problem problem) {
  if (++count_ <= kShown) lines_.push_back(line_of(where, problem));
}

std::string Problems::text(std::string_view name) const {
  std::string out = fmt::format("{} has {}:", name, counted(count_, "problem"));
  for (size_t i = 0; i < lines_.size(); ++i) out += fmt::format("\n  {}. {}", i + 1, lines_[i]);
  if (count_ > kShown) out += fmt::format("\n  ... and {} more", count_ - kShown);
  return out;
}

void Problems::throw_if_any(std::string_view name) const {
  if (!empty()) throw ConfigurationError(text(name));
}

std::string excerpt(std::string_view value) {
  constexpr size_t kLongest = 80;
  std::string out;
  for (char c : value.substr(0, kLongest)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return value.size() > kLongest ? out + "..." : out;
}

}  // namespace ropewalk
