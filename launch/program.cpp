#include "launch/program.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <span>

#include "launch/process/output.h"
#include "launch/process/process.h"
#include "launch/verbs/verbs.h"
#include "launch/version.h"

namespace ropewalk {

namespace {

ExitCode show(const std::string& text) {
  print(text);
  return ExitCode::kDone;
}

bool asks_for_help(std::span<const std::string> words) {
  return std::ranges::any_of(words, [](const std::string& word) { return word == "--help" || word == "-h"; });
}

// "tokenizer" or "tokenizer --help", not "tokenizer encode"
bool is_word_alone(std::span<const std::string> words) { return words.size() < 2 || words[1].starts_with('-'); }

std::function<ExitCode()> understand(const std::vector<Verb>& verbs, const std::vector<std::string>& words,
                                     const Launcher& launcher) {
  if (words.empty()) throw ConfigurationError("no verb is given, such as train; `ropewalk help` lists them");
  const std::string& first = words.front();
  std::span<const std::string> rest(words.begin() + 1, words.end());
  if (first == "version" || first == "--version") return [] { return show(version_text()); };
  if (first == "--help" || first == "-h" || (first == "help" && rest.empty()))
    return [&] { return show(help_text(verbs)); };
  const bool helps = first == "help" || asks_for_help(rest);
  if (first != "help") rest = words;
  if (const std::string family = family_help(verbs, rest.front()); helps && !family.empty() && is_word_alone(rest))
    return [family] { return show(family); };
  const Verb& verb = take_verb(verbs, rest);
  if (helps) return [&verb] { return show(help_text(verb)); };
  const Arguments arguments = read_arguments(verb, rest);
  return [&verb, arguments, &launcher] { return verb.run(arguments, launcher); };
}

bool runs_on_all_ranks(const std::vector<Verb>& verbs, const std::vector<std::string>& words) {
  return std::ranges::any_of(verbs, [&](const Verb& verb) {
    return verb.ranks == Verb::Ranks::kAll && !words.empty() && verb.name == words.front() && !asks_for_help(words);
  });
}

}  // namespace

ExitCode run_program(const std::vector<std::string>& words) {
  const Launcher launcher = read_launcher([](const char* name) { return std::getenv(name); });
  const std::vector<Verb> verbs = {
      prepare_verb(),         import_verb(),        train_verb(),  evaluate_verb(),         export_verb(),
      validate_verb(),        plan_verb(),          schema_verb(), tokenizer_encode_verb(), tokenizer_decode_verb(),
      tokenizer_train_verb(), tokenizer_show_verb()};
  const bool on_all_ranks = runs_on_all_ranks(verbs, words);
  if (!on_all_ranks && launcher.leaves_it_to_rank_0()) return ExitCode::kDone;
  std::function<ExitCode()> action;
  try {
    action = understand(verbs, words, launcher);
  } catch (const ConfigurationError& error) {
    if (!on_all_ranks || !launcher.is_of_a_job()) {
      say(error.what());
      return error.code();
    }
    return run_process(launcher,
                       [&](Process&) -> ExitCode { throw error; });  // every rank has this error; one prints it
  }
  try {
    return action();
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    say(failure.message);
    return failure.code;
  }
}

}  // namespace ropewalk
