#include "trainer/data/conversation.h"

#include "tests/support/expect_error.h"

namespace ropewalk {
namespace {

TEST(Conversation, BothFormsAreRead) {
  EXPECT_EQ(conversation_in(R"({"id": [1e40], "completion": " 4\n", "prompt": "2 + \u00e9\ud83d\ude42"})"),
            (Conversation{{"prompt", "2 + \xC3\xA9\xF0\x9F\x99\x82"}, {"completion", " 4\n"}}));
  EXPECT_EQ(conversation_in(R"( {"messages": [{"role": "user", "content": "a", "name": null},
                                {"content": "b", "role": "assistant"}], "source": {"x": 1}} )"),
            (Conversation{{"user", "a"}, {"assistant", "b"}}));
}

TEST(Conversation, WhatIsNoneIsRefused) {
  const std::vector<std::pair<std::string, std::string>> lines = {
      {R"({"prompt": "a", "completion": "b")", "JSON"},
      {"", "JSON"},
      {"[]", "a list, not an object; write {\"prompt\""},
      {"3", "a number, not an object"},
      {R"({"text": "a"})", "has no conversation; write {\"prompt\""},
      {R"({"prompt": "a"})", "no member \"completion\""},
      {R"({"completion": "a"})", "no member \"prompt\""},
      {R"({"prompt": "a", "completion": "b", "prompt": "c"})", "prompt"},
      {R"({"prompt": 1, "completion": "b"})", "\"prompt\" is a number; it must be text"},
      {R"({"prompt": "a", "completion": ["b"]})", "\"completion\" is a list; it must be text"},
      {R"({"prompt": "a", "completion": ""})", "\"completion\" is empty"},
      {R"({"prompt": "", "completion": "a"})", "\"prompt\" is empty"},
      {R"({"prompt": "a", "completion": "b", "messages": []})", "both forms"},
      {R"({"prompt": "a", "messages": [{"role": "user", "content": "a"}]})", "both forms"},
      {R"({"messages": {"role": "user", "content": "a"}})", "\"messages\" is an object; it must be a list"},
      {R"({"messages": []})", "\"messages\" is empty"},
      {R"({"messages": ["a"]})", "message 1: it is text; it must be an object"},
      {R"({"messages": [{"role": "user", "content": "a"}, {"content": "b"}]})",
       "message 2: there is no member \"role\""},
      {R"({"messages": [{"role": "user"}]})", "message 1: there is no member \"content\""},
      {R"({"messages": [{"role": null, "content": "a"}]})", "message 1: \"role\" is null; it must be text"},
      {R"({"messages": [{"role": "user", "content": null}]})", "message 1: \"content\" is null"},
      {R"({"messages": [{"role": "user", "content": true}]})", "message 1: \"content\" is true or false"},
      {R"({"messages": [{"role": "user", "content": ""}]})", "message 1: \"content\" is empty"},
      {R"({"messages": [{"role": "user", "content": "a", "tool_calls": []}]})",
       "no place for its member \"tool_calls\""},
      {R"({"prompt": "\ud800", "completion": "b"})", "surrogate"},
      {"{\"prompt\": \"\xff\", \"completion\": \"b\"}", "UTF-8"},
  };
  for (const auto& [line, why] : lines) {
    SCOPED_TRACE(line);
    expect_error<DataError>([&] { conversation_in(line); }, {why});
  }
}

}  // namespace
}  // namespace ropewalk
