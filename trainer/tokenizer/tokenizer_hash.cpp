#include <xxhash.h>

#include <memory>

#include "kernels/error.h"
#include "trainer/tokenizer/tokenizer_file.h"

namespace ropewalk {
namespace {

class Hash {
 public:
  Hash() : state_(XXH3_createState(), XXH3_freeState) {
    CHECK(state_ && XXH3_128bits_reset(state_.get()) == XXH_OK, "no state for a hash");
  }
  void add(int64_t value) { XXH3_128bits_update(state_.get(), &value, sizeof value); }
  void add(std::string_view text) {
    add(std::ssize(text));
    XXH3_128bits_update(state_.get(), text.data(), text.size());
  }
  std::string value() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(state_.get());
    return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }

 private:
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state_;
};

}  // namespace

std::string hash_of(const TokenizerFile& file) {
  Hash hash;
  hash.add("tokenizer 1");  // another number if this function changes
  hash.add(std::ssize(file.tokens));
  for (const TokenizerFile::Token& token : file.tokens) {
    hash.add(token.bytes);
    hash.add(token.is_of_model);
  }
  hash.add(std::ssize(file.merges));
  for (const Merge& merge : file.merges)
    for (const int32_t id : {merge.left, merge.right, merge.merged}) hash.add(id);
  hash.add(file.ignore_merges);
  hash.add(std::ssize(file.added));
  for (const AddedToken& token : file.added) {
    hash.add(token.id);
    hash.add(token.content);
    for (const bool flag : {token.single_word, token.lstrip, token.rstrip, token.normalized, token.special})
      hash.add(flag);
  }
  hash.add(std::ssize(file.normalizer));
  for (const NormalizerStep& step : file.normalizer) {
    hash.add(static_cast<int64_t>(step.kind));
    hash.add(step.text);
    hash.add(step.replacement);
  }
  hash.add(std::ssize(file.pre_tokenizer));
  for (const PreTokenizerStep& step : file.pre_tokenizer) {
    hash.add(static_cast<int64_t>(step.kind));
    hash.add(step.pattern);
    hash.add(static_cast<int64_t>(step.behavior));
    for (const bool flag : {step.invert, step.individual_digits, step.use_regex, step.add_prefix_space}) hash.add(flag);
  }
  return hash.value();
}

}  // namespace ropewalk
