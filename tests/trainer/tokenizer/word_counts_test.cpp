// Counts of words, by several threads and of documents in parts, against those of whole documents.
#include "trainer/tokenizer/word_counts.h"

#include <gtest/gtest.h>

#include <atomic>
#include <map>

#include "kernels/error.h"
#include "tests/trainer/tokenizer/cut_texts.h"
#include "trainer/tokenizer/published_patterns.h"

namespace ropewalk {
namespace {

using Counts = std::map<std::string, int64_t>;

std::vector<std::unique_ptr<PreTokenizer>> pre_tokenizers_to_count_with() {
  using Kind = PreTokenizerStep::Kind;
  std::vector<std::unique_ptr<PreTokenizer>> out;
  for (const std::string_view pattern : kPublishedPatterns)
    out.push_back(make_pre_tokenizer({{.kind = Kind::kRegex, .pattern = std::string(pattern)}}));
  const PreTokenizerStep digits{.kind = Kind::kDigits, .pattern = "", .individual_digits = true};
  const PreTokenizerStep gpt2{.kind = Kind::kByteLevel, .pattern = "", .add_prefix_space = true};
  out.push_back(make_pre_tokenizer({gpt2}));
  out.push_back(make_pre_tokenizer({digits, gpt2}));
  return out;
}

Counts counts_of_whole(const PreTokenizer& pre_tokenizer, const std::vector<std::string>& documents) {
  Counts out;
  for (const std::string& document : documents) {
    PreTokens words;
    pre_tokenizer.make_splitter()->split(document, {}, words);
    for (const std::string_view word : words.pieces) ++out[std::string(word)];
  }
  return out;
}

struct Cuts {
  int threads;
  size_t batch, part;  // bytes that are split, and appended, at a time
};

Counts counts_of_parts(const PreTokenizer& pre_tokenizer, const std::vector<std::string>& documents, const Cuts& cuts) {
  WordCounter counter(pre_tokenizer, cuts.threads, cuts.batch);
  for (const std::string& document : documents) {
    for (size_t at = 0; at < document.size(); at += cuts.part)
      counter.append(std::string_view(document).substr(at, cuts.part));
    counter.end_document();
  }
  Counts out;
  for (const auto& [word, count] : counter.finish()) out[word] = count;
  return out;
}

std::string repeated(std::string_view text, size_t bytes) {
  std::string out;
  while (out.size() < bytes) out += text;
  return out;
}

// Long documents between short ones, of all that patterns treat differently; and words of several batches.
TEST(WordCounter, CountsDependNeitherOnThreadsNorOnCuts) {
  constexpr size_t kBatch = 4096;
  const std::vector<std::string> parts = {"the",           " of",          "    ",   "\n\n",       "'s",
                                          "123",           " 1234",        "!?",     " caf\u00e9", "e\u0301",
                                          " \u0436\u0438", "\u6f22\u5b57", "\u3002", "\U0001F642"};
  std::vector<std::string> documents;
  for (uint64_t document = 0; document < 40; ++document) {
    const RandomStream random(5, fmt::format("document {}", document));
    documents.emplace_back();
    const size_t bytes = document % 2 == 0 ? 300 : 5 * kBatch;
    for (uint64_t i = 0; documents.back().size() < bytes; ++i)
      documents.back() += random.bits(i)[0] % 2 == 0 ? parts[random.bits(i)[1] % parts.size()]
                                                     : tricky_text(random, 100 * i, random.bits(i)[2] % 20);
  }
  for (const std::string_view run : {"\u6f22", "\U0001F642", " ", "\n", "7"})
    documents.push_back("a" + repeated(run, 5 * kBatch / 2) + "b");
  documents.push_back(repeated("a  \n", 5 * kBatch / 2));
  for (const auto& pre_tokenizer : pre_tokenizers_to_count_with()) {
    const Counts expected = counts_of_whole(*pre_tokenizer, documents);
    for (const Cuts cuts :
         {Cuts{1, kBatch, 70'000}, {2, kBatch, 1003}, {3, 100, 17}, {4, WordCounter::kBatchBytes, 4099}})
      EXPECT_TRUE(counts_of_parts(*pre_tokenizer, documents, cuts) == expected) << cuts.threads << " threads";
  }
}

// Every size of a batch, so that a batch ends at each byte of the texts.
TEST(WordCounter, ABatchMayEndAnywhere) {
  for (const auto& pre_tokenizer : pre_tokenizers_to_count_with()) {
    for (uint64_t i = 0; i < 12; ++i) {
      const std::string text = tricky_text(RandomStream(6, "texts"), 1000 * i, 40);
      const Counts expected = counts_of_whole(*pre_tokenizer, {text});
      for (size_t batch = 1; batch <= text.size() + 1; ++batch)
        ASSERT_EQ(counts_of_parts(*pre_tokenizer, {text}, {1, batch, 1 + batch % 5}), expected)
            << text << " in batches of " << batch;
    }
  }
}

// Notes how much text its splitters see.
class WatchedPreTokenizer : public PreTokenizer {
 public:
  explicit WatchedPreTokenizer(const PreTokenizer& watched) : watched_(watched) {}
  std::unique_ptr<Splitter> make_splitter() const override { return std::make_unique<Watched>(*this); }
  mutable std::atomic<size_t> bytes = 0, longest = 0;  // of all texts together; of one

 private:
  struct Watched : Splitter {
    explicit Watched(const WatchedPreTokenizer& by) : owner(by), splitter(by.watched_.make_splitter()) {}
    size_t split(std::string_view text, PartOfText part, PreTokens& out) override {
      owner.bytes += text.size();
      for (size_t known = owner.longest;
           known < text.size() && !owner.longest.compare_exchange_weak(known, text.size());)
        ;
      return splitter->split(text, part, out);
    }
    const WatchedPreTokenizer& owner;
    std::unique_ptr<Splitter> splitter;
  };
  const PreTokenizer& watched_;
};

// A document without ASCII letters, or without white space, is not held in memory: a splitter sees a batch at a time,
// and again only what the end of a batch makes uncertain, here at most two words of 16 bytes. A word of n bytes is seen
// whenever it has doubled, n + n/2 + n/4 + ... < 2n, and n once more at its end.
TEST(WordCounter, TimeAndMemoryOfLongDocumentsAreLinear) {
  constexpr size_t kBatch = 4096, kBytes = 64 * kBatch, kUncertain = 32;
  for (const auto& pre_tokenizer : pre_tokenizers_to_count_with()) {
    for (const std::string_view words :
         {"\u0436\u0438\u0437\u043d\u044c ", "\u6f22\u5b57\u3002\u3002", "\u0661\u3000", "!\n"}) {
      const WatchedPreTokenizer watched(*pre_tokenizer);
      const std::string document = repeated(words, kBytes);
      counts_of_parts(watched, {document}, {2, kBatch, kBytes});
      const size_t batches = document.size() / (kBatch - kUncertain) + 1;
      EXPECT_LE(watched.longest, kBatch) << words;
      EXPECT_LE(watched.bytes, document.size() + batches * kUncertain) << words;
    }
    const WatchedPreTokenizer watched(*pre_tokenizer);
    counts_of_parts(watched, {repeated("\u0436", kBytes)}, {2, kBatch, 1234});
    EXPECT_LE(watched.bytes, 3 * kBytes);
  }
}

TEST(WordCounter, MayBeLeftUnfinished) {
  const auto pre_tokenizer = make_pre_tokenizer({{.kind = PreTokenizerStep::Kind::kByteLevel, .pattern = ""}});
  WordCounter counter(*pre_tokenizer, 3);
  counter.append("a text without an end");
}

}  // namespace
}  // namespace ropewalk
