#include "kernels/cpu/attention_pack.h"

namespace ropewalk {

void TransposedKeys::pack(const float* x, int64_t g, VisibleKeys visible) {
  constexpr int64_t kPatch = 16;  // a cache line of numbers, each way
  const int64_t stride = s_.G * s_.K;
  for (int64_t u = visible.begin, stop; u < visible.end; u = stop) {
    stop = std::min(visible.end, (u / kPatch + 1) * kPatch);
    float* to = data_ + (columns(u) - data_);
    const float* from = x + u * stride + g * s_.K;
    for (int64_t c0 = 0; c0 < s_.K; c0 += kPatch)
      for (int64_t c = c0; c < std::min(s_.K, c0 + kPatch); ++c)
        for (int64_t i = 0; i < stop - u; ++i) to[c * kKeysPerTile + i] = from[i * stride + c];
  }
}

void check_documents(const AttentionSizes& s, const AttentionSpan& span) {
  if (span.document_begin.empty()) return;
  const int32_t* begin = span.document_begin.data<int32_t>();
  for (int64_t t = 0; t < s.T; ++t) {
    CHECK(begin[t] <= span.q_begin + t, "query {} is before its document, which begins at {}", span.q_begin + t,
          begin[t]);
    CHECK(begin[t] >= (t ? begin[t - 1] : 0), "the document of query {} begins at {}, before an earlier one's",
          span.q_begin + t, begin[t]);
  }
}

}  // namespace ropewalk
