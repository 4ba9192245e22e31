// How `prepare` scales: ropewalk_prepare_benchmark FOLDER bytes|words [THREADS [PAIRS]]. Makes 64 MiB of text in
// FOLDER, and prepares it with one thread and with THREADS (2), alternately, PAIRS (5) times. "words" encodes with the
// tests' tokenizer, which is about as slow as a byte-pair encoder.
#include <fmt/format.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "kernels/random.h"
#include "tests/trainer/tokenizer/word_tokenizer.h"
#include "trainer/data/prepare.h"
#include "trainer/tokenizer/make_tokenizer.h"

namespace ropewalk {
namespace {

constexpr int64_t kBytes = int64_t{64} << 20;

class SlowTokenizer : public WordTokenizer {
  class SlowEncoder : public WordEncoder {
    void append(std::string_view piece, AddedTokens added, std::vector<int32_t>& ids) override {
      for (WordEncoder& other : others_) {
        other.append(piece, added, dropped_);
        dropped_.clear();
      }
      WordEncoder::append(piece, added, ids);
    }
    std::array<WordEncoder, 7> others_;
    std::vector<int32_t> dropped_;
  };

 public:
  std::unique_ptr<Encoder> make_encoder() const override { return std::make_unique<SlowEncoder>(); }
};

struct Seconds {
  double wall = 0, processor = 0, reading = 0;  // reading: CPU time of the thread that reads and writes
};

double processor_seconds(int who) {
  rusage used{};
  ::getrusage(who, &used);
  const auto seconds = [](const timeval& time) { return double(time.tv_sec) + 1e-6 * double(time.tv_usec); };
  return seconds(used.ru_utime) + seconds(used.ru_stime);
}

Seconds measure(const std::string& folder, const Tokenizer& tokenizer, int threads) {
  const auto begin = std::chrono::steady_clock::now();
  const double processor = processor_seconds(RUSAGE_SELF), reading = processor_seconds(RUSAGE_THREAD);
  prepare({.inputs = {folder + "/text.jsonl"}, .prefix = folder + "/out", .overwrite = true, .threads = threads},
          tokenizer);
  return {std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(),
          processor_seconds(RUSAGE_SELF) - processor, processor_seconds(RUSAGE_THREAD) - reading};
}

void write_text(const std::string& path) {
  const RandomStream random(1, "text");
  std::ofstream file(path);
  for (uint64_t i = 0; file.tellp() < kBytes; ++i) {
    file << "{\"text\":\"";
    for (uint64_t word = 0; word < 50 + random.bits(i)[0] % 400; ++word)
      file << fmt::format("{:x} ", random.bits(i << 20 | word)[1] % 4096);
    file << "\"}\n";
  }
}

void run(const std::string& folder, const std::string& kind, int threads, int pairs) {
  std::filesystem::create_directories(folder);
  write_text(folder + "/text.jsonl");
  const std::unique_ptr<Tokenizer> tokenizer =
      kind == "words" ? std::make_unique<SlowTokenizer>() : make_tokenizer(kind);
  std::vector<double> speedups;
  for (int pair = 0; pair < pairs; ++pair) {
    const Seconds one = measure(folder, *tokenizer, 1), several = measure(folder, *tokenizer, threads);
    speedups.push_back(one.wall / several.wall);
    fmt::print(
        "1 thread: {:.2f} s, CPU {:.2f} s; {} threads: {:.2f} s, CPU {:.2f} s, {:.2f} s of it reading; {:.2f}x\n",
        one.wall, one.processor, threads, several.wall, several.processor, several.reading, speedups.back());
  }
  std::ranges::sort(speedups);
  fmt::print("median {:.2f}x\n", speedups[speedups.size() / 2]);
}

}  // namespace
}  // namespace ropewalk

int main(int argc, char** argv) try {
  if (argc < 3) throw std::invalid_argument("usage: ropewalk_prepare_benchmark FOLDER bytes|words [THREADS [PAIRS]]");
  ropewalk::run(argv[1], argv[2], argc > 3 ? std::stoi(argv[3]) : 2, argc > 4 ? std::stoi(argv[4]) : 5);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
