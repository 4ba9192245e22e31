#include "trainer/evaluation/scoring_request.h"

#include <gtest/gtest.h>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/tokenizer/word_tokenizer.h"
#include "trainer/evaluation/scoring.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

using Ids = std::vector<int32_t>;

class Requests : public testing::Test {
 protected:
  std::vector<ScoringRequest> read(const std::string& lines, const Tokenizer* tokenizer = nullptr,
                                   int64_t vocabulary = 257) {
    write_file(folder_ / "a.jsonl", lines);
    ScoringRequests file((folder_ / "a.jsonl").string(), tokenizer, vocabulary);
    std::vector<ScoringRequest> all;
    while (const auto request = file.next()) all.push_back(*request);
    EXPECT_FALSE(file.next()) << "after the end";
    return all;
  }
  // The bad line is the third.
  void expect_refused(const std::string& line, const std::vector<std::string>& parts) {
    const std::string good = "{\"context_ids\": [1], \"continuation_ids\": [2]}\n";
    std::vector<std::string> all = {"a.jsonl:3: "};
    all.insert(all.end(), parts.begin(), parts.end());
    for (const std::string end : {"", "\n", "\nafter"})
      expect_error<DataError>([&] { read(good + "\n" + line + end, bytes_.get()); }, all);
  }

  TemporaryDirectory folder_;
  const std::unique_ptr<Tokenizer> bytes_ = make_tokenizer("bytes");
};

TEST_F(Requests, AreIdsOrText) {
  const std::vector<ScoringRequest> expected = {
      {1, {5, 0, 256, 7}, 1}, {2, {'a', 'b', 'c'}, 1}, {4, {256, 'x', 'y'}, 2}};
  EXPECT_EQ(read("{\"context_ids\": [5,0 , 256], \"continuation_ids\":[ 7 ]}\n"
                 "{\"id\": [3, {}], \"continuation\": \"c\", \"context\": \"a\\u0062\"}\r\n"
                 " \t\n"
                 "{\"context\": \"\", \"continuation\": \"xy\"}",
                 bytes_.get()),
            expected);
  EXPECT_EQ(expected[0].length(), 3);
  EXPECT_TRUE(read("").empty());
  EXPECT_TRUE(read("\n\n").empty());
}

// The id of " b" differs from those of " " and "b".
TEST_F(Requests, AreCutBehindTheTokensOfTheContext) {
  const WordTokenizer words;
  const auto request = [&](const std::string& context, const std::string& continuation) {
    return read("{\"context\": \"" + context + "\", \"continuation\": \"" + continuation + "\"}", &words, 60001).at(0);
  };
  const Ids whole = words.encode("a b");
  ASSERT_EQ(whole.size(), 2u);
  EXPECT_EQ(request("a", " b"), (ScoringRequest{1, whole, 1}));
  ASSERT_EQ(words.encode("a ").size(), 2u);
  expect_error<DataError>([&] { request("a ", "b"); }, {"a.jsonl:1: ", "no token of its own"});
  EXPECT_EQ(request("a ", "b c"), (ScoringRequest{1, words.encode("a b c"), 1}));
}

TEST_F(Requests, WrongOnesAreRefusedByLine) {
  expect_refused("nonsense", {"not JSON: no value at byte 1", R"(write {"context": "...")"});
  expect_refused("[1]", {"not a JSON object"});
  expect_refused("{\"text\": \"a\"}", {"has no request", "continuation_ids"});
  expect_refused(R"({"context": "a"})", {"no member \"continuation\""});
  expect_refused(R"({"continuation": "a"})", {"no member \"context\""});
  expect_refused(R"({"context_ids": [1]})", {"no member \"continuation_ids\""});
  expect_refused(R"({"context": "a", "continuation_ids": [1]})", {"members of both forms"});
  expect_refused(R"({"context": "a", "continuation": "b", "context_ids": [1], "continuation_ids": [1]})",
                 {"members of both forms"});
  expect_refused(R"({"context": "a", "continuation": "b", "conte\u0078t": "c"})", {"more than one member \"context\""});
  expect_refused(R"({"context": 3, "continuation": "b"})", {"\"context\" is not a string"});
  expect_refused(R"({"context": "a", "continuation": ""})", {"\"continuation\" is empty"});
  expect_refused(R"({"context": "a\ud800", "continuation": "b"})", {"\"context\" has a lone surrogate"});
  expect_refused("{\"context\": \"\xFF\", \"continuation\": \"b\"}", {"invalid UTF-8 at byte 14"});
  expect_refused(R"({"context_ids": [], "continuation_ids": [1]})", {"\"context_ids\" is empty", "begins a document"});
  expect_refused(R"({"context_ids": [1], "continuation_ids": [ ]})", {"\"continuation_ids\" is empty"});
  expect_refused(R"({"context_ids": "1", "continuation_ids": [1]})", {"\"context_ids\" is not a list of token ids"});
  for (const std::string wrong : {"-1", "257", "1.0", "1e2", "null", "\"1\"", "99999999999999999999", "[1]"})
    expect_refused("{\"context_ids\": [0, " + wrong + ", 2], \"continuation_ids\": [1]}",
                   {"entry 2 of \"context_ids\" is ", wrong, "whole numbers from 0 to 256"});
}

TEST_F(Requests, InTextNeedATokenizer) {
  expect_error<DataError>([&] { read(R"({"context": "a", "continuation": "b"})"); }, {"a.jsonl:1: ", "--tokenizer"});
}

TEST_F(Requests, ComeFromARegularFile) {
  const auto open = [&](const std::string& file) { ScoringRequests(file, nullptr, 10); };
  expect_error<DataError>([&] { open((folder_ / "none").string()); }, {"none", "No such file"});
  expect_error<DataError>([&] { open("/dev/null"); }, {"/dev/null is not a regular file"});
  expect_error<DataError>([&] { open(folder_.path().string()); }, {"is not a regular file"});
}

// In parts of every size, and through bytes.
TEST_F(Requests, AreReadInParts) {
  std::string lines;
  for (int i = 1; i <= 20; ++i) {
    lines += "{\"context_ids\": [1";
    for (int j = 0; j < i * 7 % 5; ++j) lines += ", 3";
    lines += "], \"continuation_ids\": [9, 8]}\n";
  }
  const std::vector<ScoringRequest> all = read(lines);
  ASSERT_EQ(all.size(), 20u);
  for (const int64_t tokens : {1, 4, 5, 17, 1000}) {
    ScoringRequests file((folder_ / "a.jsonl").string(), nullptr, 10);
    std::vector<ScoringRequest> together;
    for (std::string bytes = read_requests(file, tokens); !bytes.empty(); bytes = read_requests(file, tokens)) {
      const std::vector<ScoringRequest> part = requests_in(bytes);
      int64_t length = 0;
      for (const ScoringRequest& request : part) length += request.length();
      EXPECT_LT(length - part.back().length(), tokens);
      together.insert(together.end(), part.begin(), part.end());
      EXPECT_TRUE(length >= tokens || together.size() == all.size());
    }
    EXPECT_EQ(together, all);
  }
}

TEST(ScoringAnswers, AreJson) {
  EXPECT_EQ((ScoringAnswer{{-0.5, -1e-5, 0.0}, true}.json()),
            "{\"logprob\": -0.50001, \"token_logprobs\": [-0.5, -1e-05, 0], \"is_greedy\": true}");
  EXPECT_EQ((ScoringAnswer{{-1.0 / 3}, false}.json()),
            "{\"logprob\": -0.3333333333333333, \"token_logprobs\": [-0.3333333333333333], \"is_greedy\": false}");
}

}  // namespace
}  // namespace ropewalk
