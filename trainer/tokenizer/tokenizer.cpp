#include "trainer/tokenizer/tokenizer.h"

namespace ropewalk {

std::vector<int32_t> Tokenizer::encode(std::string_view text, AddedTokens added) const {
  std::vector<int32_t> ids;
  const std::unique_ptr<Encoder> encoder = make_encoder();
  encoder->append(text, added, ids);
  encoder->finish(ids);
  return ids;
}

}  // namespace ropewalk
