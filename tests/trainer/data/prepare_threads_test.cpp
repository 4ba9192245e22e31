// prepare() with several threads: the same bytes and the same errors as with one.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <latch>
#include <optional>
#include <thread>

#include "kernels/random.h"
#include "tests/support/compressed.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/tokenizer/word_tokenizer.h"
#include "trainer/data/dataset_facts.h"
#include "trainer/data/prepare.h"

namespace ropewalk {
namespace {

constexpr int kThreads[] = {1, 2, 3, 8};

class PrepareThreads : public ::testing::Test {
 protected:
  PrepareOptions options(const std::vector<std::string>& inputs, int threads) {
    PrepareOptions out;
    for (const std::string& input : inputs) out.inputs.push_back(folder_ / input);
    out.prefix = folder_ / "out";
    out.threads = threads;
    out.overwrite = true;
    return out;
  }
  TemporaryDirectory folder_;
};

// Documents of every size: many within a batch, and some over several batches (1 MiB) that must stay in order.
TEST_F(PrepareThreads, TheOutputDoesNotDependOnTheirNumber) {
  const RandomStream random(8, "documents");
  std::string separated;
  for (uint64_t d = 0; d < 300; ++d) {
    const size_t size = d % 50 == 7 ? 1'300'000 : d % 7 == 0 ? 20'000 : random.bits(d)[1] % 500;
    separated += text_of_words(random, 1'000'000 * d, size) + "<|>";
  }
  write_file(folder_ / "a.txt", separated);
  write_file(folder_ / "b.txt.gz", gzipped(separated));
  std::optional<std::pair<std::string, std::string>> expected;
  for (const int threads : kThreads) {
    PrepareOptions asked = options({"a.txt", "b.txt.gz"}, threads);
    asked.documents.document_separator = "<|>";
    prepare(asked, WordTokenizer());
    const std::pair got = {read_file(folder_ / "out.bin"), read_file(folder_ / "out.idx")};
    if (!expected) expected = got;
    EXPECT_GT(got.first.size(), size_t{1'000'000});
    EXPECT_TRUE(got == *expected) << threads << " threads";
  }
}

// The first calls of encoders wait for each other, each for another document.
class Together : public WordTokenizer {
  class TogetherEncoder : public WordEncoder {
   public:
    explicit TogetherEncoder(std::latch& both) : both_(both) {}
    void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) override {
      if (std::exchange(first_, false)) {
        both_.count_down();
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
        while (!both_.try_wait() && std::chrono::steady_clock::now() < end) std::this_thread::yield();
        EXPECT_TRUE(both_.try_wait()) << "the other document did not begin";
      }
      WordEncoder::append(piece, added, ids);
    }

   private:
    std::latch& both_;
    bool first_ = true;
  };

 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<TogetherEncoder>(both_); }

 private:
  mutable std::latch both_{2};
};

TEST_F(PrepareThreads, DocumentsAreEncodedAtTheSameTime) {
  for (const size_t bytes : {300'000, 3'000'000}) {  // each in one batch, in several
    std::string separated;
    for (int d = 0; d < 2; ++d) separated += std::string(bytes, 'a') + "<|>";
    write_file(folder_ / "a.txt", separated);
    PrepareOptions asked = options({"a.txt"}, 2);
    asked.documents.document_separator = "<|>";
    prepare(asked, Together());
  }
}

// Small documents are not cut: a batch that begins within a document would have to wait for the one before it.
TEST_F(PrepareThreads, BatchesOfSmallDocumentsAreEncodedAtTheSameTime) {
  std::string lines;
  for (int i = 0; i < 2'000; ++i) lines += "{\"text\":\"" + std::string(499, 'a') + "\"}\n";
  write_file(folder_ / "a.jsonl", lines);
  prepare(options({"a.jsonl"}, 2), Together());
}

// Takes long for every second batch, and refuses a '!'.
class Uneven : public WordTokenizer {
  class UnevenEncoder : public WordEncoder {
    void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) override {
      if (piece.find('~') != piece.npos) std::this_thread::sleep_for(std::chrono::milliseconds(50));
      if (piece.find('!') != piece.npos) throw DataError("a mark in the text");
      WordEncoder::append(piece, added, ids);
    }
  };

 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<UnevenEncoder>(); }
};

// Errors of the tokenizer and of the reader in several places; the first in the order of the input is told, though the
// batch with it takes longest.
TEST_F(PrepareThreads, TheFirstErrorOfTheInputIsTold) {
  const std::string filling(400'000, 'a'), good = "{\"text\":\"" + filling + "\"}\n";
  const std::string refused = "{\"text\":\"~" + filling + "!\"}\n", broken = "broken\n";
  struct Case {
    std::string lines, place;
  };
  for (const auto& [lines, place] : {Case{good + refused + good + refused, "a.jsonl: document 2 of the output: a mark"},
                                     Case{good + refused + broken, "a.jsonl: document 2 of the output: a mark"},
                                     Case{good + good + broken + refused, "a.jsonl:3: "},
                                     Case{"{\"text\":\"!\"}\n" + broken, "a.jsonl: document 1 of the output"}}) {
    write_file(folder_ / "a.jsonl", lines);
    for (const int threads : kThreads)
      expect_error<DataError>([&] { prepare(options({"a.jsonl"}, threads), Uneven()); }, {place});
  }
  EXPECT_TRUE(folder_.names() == std::vector<std::string>{"a.jsonl"}) << "nothing is left";
}

// The tokenizer keeps count of the bytes that it was given: a document is never far ahead of the writer.
TEST_F(PrepareThreads, AHugeDocumentIsNotHeldInMemory) {
  class Counting : public WordTokenizer {
    class CountingEncoder : public WordEncoder {
     public:
      explicit CountingEncoder(std::atomic<int64_t>& bytes) : bytes_(bytes) {}
      void append(std::string_view piece, AddedTokens, std::vector<int32_t>& ids) override {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));  // slower than reading
        bytes_ += std::ssize(piece);
        ids.push_back(1);
      }
      std::atomic<int64_t>& bytes_;
    };

   public:
    std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<CountingEncoder>(bytes); }
    mutable std::atomic<int64_t> bytes = 0;
  };
  write_file(folder_ / "a.txt", std::string(64 << 20, 'a'));
  for (const int threads : {1, 2}) {
    const Counting tokenizer;
    PrepareOptions asked = options({"a.txt"}, threads);
    int64_t most_ahead = 0;
    prepare(asked, tokenizer, [&](const PrepareProgress& now) {
      most_ahead = std::max(most_ahead, now.bytes_done - tokenizer.bytes.load());
    });
    EXPECT_EQ(tokenizer.bytes, 64 << 20);
    EXPECT_LE(most_ahead, 10 << 20) << "batches of 1 MiB that wait";
  }
}

// A tokenizer with a template, and with a file.
class WithTemplate : public WordTokenizer {
  Template special_ids() const override { return {.before = {7, 8}, .after = {9}}; }
  TokenizerIdentity identity() const override { return {"words.json", "abc", vocabulary_size()}; }
};

TEST_F(PrepareThreads, SpecialIdsAreAroundEachDocument) {
  write_file(folder_ / "a.jsonl", "{\"text\":\"one two\"}\n{\"text\":\"\"}\n{\"text\":\"three\"}\n");
  const WordTokenizer words;
  std::string expected;
  for (const char* text : {"one two", "three"}) {
    std::vector<int32_t> ids = {7, 8};
    for (const int32_t id : words.encode(text)) ids.push_back(id);
    for (const int32_t id : {9, WordEncoder::kWords}) ids.push_back(id);
    for (const int32_t id : ids) expected += std::string{static_cast<char>(id & 255), static_cast<char>(id >> 8)};
  }
  for (const int threads : kThreads) {
    PrepareOptions asked = options({"a.jsonl"}, threads);
    asked.special_tokens = true;
    prepare(asked, WithTemplate());
    EXPECT_EQ(read_file(folder_ / "out.bin"), expected);
  }
}

TEST_F(PrepareThreads, TheTokenizerIsKeptBesideTheData) {
  write_file(folder_ / "a.txt", "one two");
  PrepareOptions asked = options({"a.txt"}, 1);
  asked.tokenizer_file = "{\"the\": \"file\"}\n";
  const PrepareSummary summary = prepare(asked, WithTemplate());
  EXPECT_EQ(summary.written, (std::vector<std::string>{folder_ / "out.bin", folder_ / "out.idx",
                                                       folder_ / "out.dataset.json", folder_ / "out.tokenizer.json"}));
  EXPECT_EQ(read_file(folder_ / "out.tokenizer.json"), *asked.tokenizer_file);
  const std::optional<DatasetFacts> facts = read_dataset_facts(folder_ / "out");
  ASSERT_TRUE(facts);
  EXPECT_EQ(facts->tokenizer.hash, "abc");
  EXPECT_EQ(facts->tokenizer.name, "words.json");
  EXPECT_EQ(facts->end_of_document, WordEncoder::kWords);
  asked.tokenizer_file.reset();
  prepare(asked, WordTokenizer());
  EXPECT_FALSE(std::filesystem::exists(folder_ / "out.tokenizer.json"));
  EXPECT_EQ(read_dataset_facts(folder_ / "out")->tokenizer.name, "words");
}

}  // namespace
}  // namespace ropewalk
