#include "kernels/cpu/attention_tiles.h"

namespace ropewalk {

void check_documents(const AttentionSizes& s, const AttentionSpan& span) {
  if (span.document_begin.empty()) return;
  const int32_t* begin = span.document_begin.data<int32_t>();
  for (int64_t t = 0; t < s.T; ++t) {
    CHECK(begin[t] <= span.queries.of(t), "query {} is before its document, which begins at {}", span.queries.of(t),
          begin[t]);
    CHECK(begin[t] >= (t ? begin[t - 1] : 0), "the document of query {} begins at {}, before an earlier one's",
          span.queries.of(t), begin[t]);
  }
}

}  // namespace ropewalk
