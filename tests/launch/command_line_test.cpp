// Parsing of arguments, and the messages about wrong ones.
#include "launch/command_line.h"

#include <gtest/gtest.h>

#include "launch/verbs/verbs.h"
#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

Verb toy() {
  return {.name = "weave",
          .summary = "weave something",
          .positional = {"LOOM"},
          .about = "Weaves.",
          .groups = {{"Thread",
                      {{"input", "FILE...", "threads", Option::Count::kList},
                       {"set", "FIELD=VALUE", "fields", Option::Count::kRepeated},
                       {"colour", "NAME", "of the cloth. Default: grey"}}},
                     {"Cloth", {{"output", "FILE", "cloth", Option::Count::kOnce, true}, {"tight", "", "close"}}}},
          .examples = {"ropewalk weave loom --output x"}};
}

std::string refusal(const std::vector<std::string>& words) {
  try {
    read_arguments(toy(), words);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "";
}

TEST(Arguments, AreTakenInAnyOrderAndForm) {
  const Arguments a =
      read_arguments(toy(), std::vector<std::string>{"--input", "a", "b", "--set", "x.y=1", "loom", "--set=z=-2",
                                                     "--output", "-", "--input", "c", "--tight"});
  EXPECT_EQ(a.positional(), (std::vector<std::string>{"loom"}));
  EXPECT_EQ(a.values("input"), (std::vector<std::string>{"a", "b", "c"}));
  EXPECT_EQ(a.values("set"), (std::vector<std::string>{"x.y=1", "z=-2"}));
  EXPECT_EQ(a.value("output"), "-");
  EXPECT_EQ(a.value("colour", "grey"), "grey");
  EXPECT_TRUE(a.has("tight"));
  EXPECT_FALSE(a.has("colour"));
}

TEST(Arguments, ValuesMayHoldAnything) {
  const Arguments a =
      read_arguments(toy(), std::vector<std::string>{"loom", "--output", "", "--set", "a= b\n=c", "--colour=--x=y"});
  EXPECT_EQ(a.value("output", "other"), "");
  EXPECT_EQ(a.values("set"), (std::vector<std::string>{"a= b\n=c"}));
  EXPECT_EQ(a.value("colour"), "--x=y");
}

TEST(Arguments, WrongOnesAreRefusedWithTheRightWord) {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"loom"}, "weave needs --output FILE"},
      {{"--output", "x"}, "weave needs LOOM"},
      {{}, "weave needs LOOM"},
      {{"", "--output", "x"}, "weave is given an empty name for LOOM"},
      {{"loom", "extra", "--output", "x"}, "weave does not expect the argument 'extra'"},
      {{"loom", "a.b=1", "--output", "x"}, "weave does not expect the argument 'a.b=1'; did you mean --set a.b=1?"},
      {{"loom", "--outptu", "x"}, "weave has no option --outptu; did you mean --output?"},
      {{"loom", "--out", "x"}, "weave has no option --out"},  // prefixes of option names are not accepted
      {{"loom", "--a.b=1", "--output", "x"}, "weave has no option --a.b; did you mean --set a.b=1?"},
      {{"loom", "--qqqqqqqq"}, "weave has no option --qqqqqqqq\n"},
      {{"loom", "-o", "x"}, "weave has no option --o"},
      {{"loom", "--output"}, "the required argument for option '--output' is missing"},
      {{"loom", "--output", "--tight"}, "--output lacks its value before --tight"},
      {{"loom", "--output", "x", "--output", "y"}, "--output is given more than once"},
      {{"loom", "--output", "x", "--tight=1"}, "'--tight' does not take any arguments"},
  };
  for (const auto& [words, said] : cases) {
    const std::string message = refusal(words);
    EXPECT_NE(message.find(said), std::string::npos) << said << "\n" << message;
    EXPECT_NE(message.find("usage: ropewalk weave LOOM --output FILE [OPTION]...\n  `ropewalk weave --help` explains"),
              std::string::npos)
        << message;
  }
}

// Without LOOM the verb needs --output, and --colour is then wrong.
Verb toy_with_two_forms() {
  Verb verb = toy();
  verb.groups.back().options.front().required = false;
  verb.other_usage = "--output FILE";
  verb.problem = [](const Arguments& arguments) -> std::string {
    if (!arguments.positional().empty()) return "";
    return arguments.has("output") ? arguments.has("colour") ? "--colour needs LOOM" : ""
                                   : "weave needs LOOM or --output";
  };
  return verb;
}

TEST(Arguments, MayHaveASecondForm) {
  const Verb verb = toy_with_two_forms();
  const auto read = [&](const std::vector<std::string>& words) { return read_arguments(verb, words); };
  EXPECT_EQ(read({"loom", "--colour", "red"}).positional().size(), 1u);
  EXPECT_TRUE(read({"--output", "x"}).positional().empty());
  const std::string usage =
      "\n  usage: ropewalk weave LOOM [OPTION]...\n   or: ropewalk weave --output FILE [OPTION]...\n  `ropewalk weave";
  for (const auto& [words, said] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{}, "weave needs LOOM or --output"},
           {{"--output", "x", "--colour", "red"}, "--colour needs LOOM"},
           {{""}, "weave is given an empty name for LOOM"},
           {{"a", "b"}, "weave does not expect the argument 'b'"}})
    expect_error<ConfigurationError>([&] { read(words); }, {said + usage});
  EXPECT_TRUE(
      help_text(verb).starts_with("usage: ropewalk weave LOOM [OPTION]...\n   or: ropewalk weave --output FILE"));
}

TEST(Help, ShowsEveryGroupOptionAndExample) {
  const std::string help = help_text(toy());
  for (const char* part :
       {"usage: ropewalk weave LOOM --output FILE", "Weaves.", "Thread:", "--input FILE...", "--set FIELD=VALUE",
        "of the cloth. Default: grey", "Cloth:", "--tight", "Examples:\n  ropewalk weave loom"})
    EXPECT_NE(help.find(part), std::string::npos) << part << "\n" << help;
}

std::string refusal_of(const std::vector<Verb>& verbs, const std::vector<std::string>& words) {
  std::span<const std::string> rest = words;
  try {
    take_verb(verbs, rest);
  } catch (const ConfigurationError& error) {
    return error.what();
  }
  return "";
}

TEST(Verbs, AreFoundByNameOnly) {
  const std::vector<Verb> verbs = {prepare_verb(),          train_verb(),           validate_verb(),      schema_verb(),
                                   tokenizer_encode_verb(), tokenizer_train_verb(), tokenizer_show_verb()};
  for (const Verb& verb : verbs) {
    std::vector<std::string> words = {verb.name, "train"};  // the word after the name is not part of it
    if (const size_t space = verb.name.find(' '); space != std::string::npos)
      words = {verb.name.substr(0, space), verb.name.substr(space + 1), "train"};
    std::span<const std::string> rest = words;
    EXPECT_EQ(&take_verb(verbs, rest), &verb);
    EXPECT_EQ(rest.size(), 1u) << verb.name;
    EXPECT_FALSE(verb.summary.empty());
    EXPECT_FALSE(verb.examples.empty()) << verb.name;
    EXPECT_NE(verb.run, nullptr) << verb.name;
    EXPECT_NE(help_text(verbs).find(verb.summary), std::string::npos);
  }
  EXPECT_EQ(refusal_of(verbs, {"tarin"}),
            "'tarin' is not a verb of ropewalk; did you mean train?; `ropewalk help` lists them");
  EXPECT_EQ(refusal_of(verbs, {"tokenizer"}),
            "'tokenizer' needs a second word: encode, train, show; `ropewalk tokenizer --help` explains them");
  EXPECT_EQ(refusal_of(verbs, {"tokenizer", "encdoe"}),
            "'tokenizer' needs a second word: encode, train, show; did you mean tokenizer encode?; "
            "`ropewalk tokenizer --help` explains them");
  EXPECT_EQ(refusal_of(verbs, {"tokenizer", "xyzzy"}), refusal_of(verbs, {"tokenizer"})) << "nothing is near";
}

TEST(Verbs, OfOneFirstWordHaveHelpInCommon) {
  const std::vector<Verb> verbs = {train_verb(), tokenizer_encode_verb(), tokenizer_show_verb()};
  const std::string help = family_help(verbs, "tokenizer");
  for (const Verb& verb : verbs) EXPECT_EQ(help.find(verb.summary) == std::string::npos, verb.name == "train") << help;
  EXPECT_EQ(family_help(verbs, "train"), "");
  EXPECT_EQ(family_help(verbs, "token"), "");
}

}  // namespace
}  // namespace ropewalk
