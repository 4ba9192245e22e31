// The speed of splitting text into pre-tokens, on one thread: scanners of the published patterns beside PCRE2 (with
// just-in-time compilation) for the same pattern, and Command R's steps. CPU-seconds of runs that alternate; medians.
//
//     ninja -C build/release ropewalk_splitting_benchmark && bible -f Gen1:1-Rev22:21 > /tmp/text.txt
//     build/release/tests/benchmark/ropewalk_splitting_benchmark /tmp/text.txt
#include <cstdio>
#include <fstream>
#include <iterator>

#include "kernels/clock.h"
#include "tests/benchmark/measure.h"
#include "trainer/text/utf8.h"
#include "trainer/tokenizer/published_patterns.h"
#include "trainer/tokenizer/regex.h"

namespace ropewalk::benchmark {
namespace {

constexpr int kPairs = 7;
constexpr size_t kWindow = 64 << 10;  // bytes that a splitter gets at once

// Each returns the number of pre-tokens.
using Run = std::function<size_t(std::string_view)>;

size_t split_in_windows(Splitter& splitter, std::string_view text) {
  PreTokens out;
  size_t count = 0;
  for (size_t begin = 0; begin < text.size();) {
    const bool ends = begin + kWindow >= text.size();
    const size_t known = length_in_whole_characters(text.substr(begin, kWindow));
    out.clear();
    begin += splitter.split(text.substr(begin, known), {.begins = begin == 0, .ends = ends}, out);
    count += out.pieces.size();
  }
  return count;
}

Run steps(std::vector<PreTokenizerStep> list) {
  std::shared_ptr<PreTokenizer> pre_tokenizer = make_pre_tokenizer(std::move(list));
  std::shared_ptr<Splitter> splitter = pre_tokenizer->make_splitter();
  return [pre_tokenizer, splitter](std::string_view text) { return split_in_windows(*splitter, text); };
}

PreTokenizerStep regex_step(std::string_view pattern) {
  return {.kind = PreTokenizerStep::Kind::kRegex, .pattern = std::string(pattern)};
}

Run pcre2(std::string_view pattern) {
  std::shared_ptr<Regex> regex = make_regex(pattern);
  std::shared_ptr<Finder> finder = regex->make_finder();
  return [regex, finder](std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size(); ++count) at = finder->find(text, at, true).end;
    return count;
  };
}

double rate_of(const Run& run, std::string_view text, size_t& count) {
  const double began = thread_cpu_seconds();
  count = run(text);
  return static_cast<double>(text.size()) / (thread_cpu_seconds() - began) / 1e6;
}

void compare(const char* name, const Run& scanner, const Run& other, std::string_view text) {
  std::vector<double> rates, other_rates, ratios;
  size_t count = 0, other_count = 0;
  for (int pair = -1; pair < kPairs; ++pair) {
    const double rate = rate_of(scanner, text, count), other_rate = rate_of(other, text, other_count);
    if (pair < 0) continue;  // warm-up
    rates.push_back(rate);
    other_rates.push_back(other_rate);
    ratios.push_back(rate / other_rate);
  }
  std::printf("%-10s %9zu pre-tokens %7.0f MB/s; PCRE2 %9zu matches %6.1f MB/s; ratio %.1f\n", name, count,
              median(rates), other_count, median(other_rates), median(ratios));
}

int run(const char* path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty() || !is_utf8(text)) {
    std::fprintf(stderr, "ropewalk_splitting_benchmark: %s is no UTF-8 text\n", path);
    return 3;
  }
  compare("GPT-2", steps({regex_step(kGpt2Pattern)}), pcre2(kGpt2Pattern), text);
  compare("Llama 3", steps({regex_step(kLlama3Pattern)}), pcre2(kLlama3Pattern), text);
  compare("Qwen 2", steps({regex_step(kQwen2Pattern)}), pcre2(kQwen2Pattern), text);
  compare("o200k", steps({regex_step(kO200kPattern)}), pcre2(kO200kPattern), text);
  compare("Tekken", steps({regex_step(kTekkenPattern)}), pcre2(kTekkenPattern), text);
  const std::vector<PreTokenizerStep> command_r = {
      {.kind = PreTokenizerStep::Kind::kDigits, .pattern = "", .individual_digits = true},
      {.kind = PreTokenizerStep::Kind::kByteLevel, .pattern = ""}};
  compare("Command R", steps(command_r), pcre2(kGpt2Pattern), text);
  return 0;
}

}  // namespace
}  // namespace ropewalk::benchmark

int main(int argc, char** argv) {
  if (argc == 2) return ropewalk::benchmark::run(argv[1]);
  std::fprintf(stderr, "usage: ropewalk_splitting_benchmark FILE\n");
  return 2;
}
