#include "launch/command_line.h"

#include <boost/program_options.hpp>
#include <charconv>
#include <sstream>

#include "parallel/mesh.h"
#include "trainer/text/nearest.h"

namespace ropewalk {

namespace {

namespace po = boost::program_options;

constexpr unsigned kColumns = 100;

po::options_description describe(const OptionGroup& group) {
  po::options_description out(group.title, kColumns, kColumns / 2);
  for (const Option& option : group.options) {
    if (option.value.empty()) {
      out.add_options()(option.name.c_str(), option.description.c_str());
      continue;
    }
    auto* value = po::value<std::vector<std::string>>()->value_name(option.value);
    if (option.count == Option::Count::kList) value->multitoken();
    out.add_options()(option.name.c_str(), value, option.description.c_str());
  }
  return out;
}

std::vector<std::string> option_names(const Verb& verb) {
  std::vector<std::string> names = {"help"};
  for (const OptionGroup& group : verb.groups)
    for (const Option& option : group.options) names.push_back(option.name);
  return names;
}

std::string usage(const Verb& verb) {
  std::string line = "ropewalk " + verb.name;
  for (const std::string& name : verb.positional) line += " " + name;
  for (const OptionGroup& group : verb.groups)
    for (const Option& option : group.options)
      if (option.required) line += fmt::format(" --{} {}", option.name, option.value);
  const std::string rest = " [OPTION]...";
  return line + rest +
         (verb.other_usage.empty() ? "" : fmt::format("\n   or: ropewalk {} {}{}", verb.name, verb.other_usage, rest));
}

[[noreturn]] void refuse(const Verb& verb, const std::string& what) {
  throw ConfigurationError(
      fmt::format("{}\n  usage: {}\n  `ropewalk {} --help` explains", what, usage(verb), verb.name));
}

[[noreturn]] void refuse_option(const Verb& verb, std::string given) {
  given = given.substr(std::min(given.find_first_not_of('-'), given.size()));
  const std::string name = given.substr(0, given.find('='));
  const std::string nearest = nearest_name(name, option_names(verb));
  // A name with a dot is a field of the configuration given without --set.
  const bool is_field = name.find('.') != std::string::npos && std::ranges::count(option_names(verb), "set") > 0;
  const std::string meant = is_field          ? fmt::format("; did you mean --set {}?", given)
                            : nearest.empty() ? ""
                                              : fmt::format("; did you mean --{}?", nearest);
  refuse(verb, fmt::format("{} has no option --{}{}", verb.name, name, meant));
}

// Boost takes the word after an option as its value, even if that word is the next option.
void check_values(const Verb& verb, const Arguments& arguments) {
  const std::vector<std::string> names = option_names(verb);
  for (const std::string& name : names)
    for (const std::string& value : arguments.values(name))
      if (value.starts_with("--") && std::ranges::count(names, value.substr(2)) > 0)
        refuse(verb, fmt::format("--{} lacks its value before {}", name, value));
}

void check_positional(const Verb& verb, const std::vector<std::string>& given) {
  if (given.size() > verb.positional.size()) {
    const std::string& extra = given[verb.positional.size()];
    if (extra.starts_with("-")) refuse_option(verb, extra);
    const bool is_field = extra.find('=') != std::string::npos && std::ranges::count(option_names(verb), "set") > 0;
    refuse(verb, fmt::format("{} does not expect the argument '{}'{}", verb.name, extra,
                             is_field ? fmt::format("; did you mean --set {}?", extra) : ""));
  }
  if (given.empty() && !verb.other_usage.empty()) return;
  if (given.size() < verb.positional.size())
    refuse(verb, fmt::format("{} needs {}", verb.name, verb.positional[given.size()]));
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i].empty()) refuse(verb, fmt::format("{} is given an empty name for {}", verb.name, verb.positional[i]));
}

void check_counts(const Verb& verb, const Arguments& arguments) {
  for (const OptionGroup& group : verb.groups)
    for (const Option& option : group.options) {
      if (option.required && !arguments.has(option.name))
        refuse(verb, fmt::format("{} needs --{} {}", verb.name, option.name, option.value));
      if (option.count == Option::Count::kOnce && arguments.values(option.name).size() > 1)
        refuse(verb, fmt::format("--{} is given more than once", option.name));
    }
}

}  // namespace

std::string Arguments::value(const std::string& option, const std::string& otherwise) const {
  const auto found = values_.find(option);
  return found == values_.end() || found->second.empty() ? otherwise : found->second.back();
}

std::optional<int64_t> Arguments::whole_number(const std::string& option, int64_t least, int64_t most) const {
  if (!has(option)) return std::nullopt;
  const std::string text = value(option);
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < least || number > most)
    throw ConfigurationError(fmt::format("--{} {} must be a whole number in [{}, {}]", option, text, least, most));
  return number;
}

std::vector<std::string> Arguments::values(const std::string& option) const {
  const auto found = values_.find(option);
  return found == values_.end() ? std::vector<std::string>() : found->second;
}

std::string help_text(const Verb& verb) {
  std::ostringstream out;
  out << "usage: " << usage(verb) << "\n\n" << verb.about << "\n";
  for (const OptionGroup& group : verb.groups) out << "\n" << describe(group);
  if (!verb.examples.empty()) out << "\nExamples:\n";
  for (const std::string& example : verb.examples) out << "  " << example << "\n";
  return out.str();
}

std::string help_text(std::span<const Verb> verbs) {
  std::string out =
      "ropewalk trains long-context language models, most of whose layers use sliding-window attention, on many "
      "ranks.\n\n"
      "usage: ropewalk VERB [ARGUMENT]...\n\nVerbs:\n";
  for (const Verb& verb : verbs) out += fmt::format("  {:<18}{}\n", verb.name, verb.summary);
  out +=
      "\n`ropewalk VERB --help` explains a verb. A first run (book.txt: any text):\n"
      "  ropewalk prepare --input book.txt --output data/text\n"
      "  mpirun -n 2 --allow-run-as-root --oversubscribe ropewalk train configs/rnope_swa.textproto \\\n"
      "      --set parallel.context_parallel=2\n";
  return out;
}

Arguments read_arguments(const Verb& verb, std::span<const std::string> words) {
  po::options_description all;
  for (const OptionGroup& group : verb.groups) all.add(describe(group));
  Arguments out;
  try {
    using Style = po::command_line_style::style_t;
    const auto parsed = po::command_line_parser(std::vector<std::string>(words.begin(), words.end()))
                            .options(all)
                            .style(Style::allow_long | Style::long_allow_next | Style::long_allow_adjacent)
                            .run();
    for (const po::option& option : parsed.options) {
      std::vector<std::string>& values = option.string_key.empty() ? out.positional_ : out.values_[option.string_key];
      values.insert(values.end(), option.value.begin(), option.value.end());
    }
  } catch (const po::unknown_option& error) {
    refuse_option(verb, error.get_option_name());
  } catch (const po::error& error) {
    refuse(verb, error.what());
  }
  check_values(verb, out);
  check_positional(verb, out.positional());
  check_counts(verb, out);
  if (const std::string problem = verb.problem ? verb.problem(out) : ""; !problem.empty()) refuse(verb, problem);
  return out;
}

std::optional<int> ranks_of(const Arguments& arguments, const Launcher& launcher) {
  if (const auto ranks = arguments.whole_number("ranks", 1, kMostRanks)) return static_cast<int>(*ranks);
  return launcher.job_size();
}

const Verb& take_verb(std::span<const Verb> verbs, std::span<const std::string>& words) {
  const std::string first = words.front(), both = words.size() > 1 ? first + " " + words[1] : first;
  std::vector<std::string> first_words, second_words;
  for (const Verb& verb : verbs) {
    if (verb.name == first || verb.name == both) {
      words = words.subspan(verb.name == first ? 1 : 2);
      return verb;
    }
    const size_t space = verb.name.find(' ');
    first_words.push_back(verb.name.substr(0, space));
    if (first_words.back() == first) second_words.push_back(verb.name.substr(space + 1));
  }
  const auto meant = [](const std::string& before, const std::string& nearest) {
    return nearest.empty() ? "" : fmt::format("; did you mean {}{}?", before, nearest);
  };
  if (second_words.empty()) {
    throw ConfigurationError(fmt::format("'{}' is not a verb of ropewalk{}; `ropewalk help` lists them", first,
                                         meant("", nearest_name(first, first_words))));
  }
  throw ConfigurationError(fmt::format(
      "'{}' needs a second word: {}{}; `ropewalk {} --help` explains them", first, fmt::join(second_words, ", "),
      words.size() > 1 ? meant(first + " ", nearest_name(words[1], second_words)) : "", first));
}

std::string family_help(std::span<const Verb> verbs, const std::string& word) {
  std::string out;
  for (const Verb& verb : verbs)
    if (verb.name.starts_with(word + " ")) out += fmt::format("  {:<18}{}\n", verb.name, verb.summary);
  if (out.empty()) return out;
  return fmt::format("usage: ropewalk {} WORD [ARGUMENT]...\n\n{}\n`ropewalk {} WORD --help` explains one.\n", word,
                     out, word);
}

}  // namespace ropewalk
