#include "trainer/data/slice.h"

namespace ropewalk {
namespace {

// The rank's positions of one member of every sample, [B * T].
std::vector<int32_t> gather(std::span<const Sample> samples, std::vector<int32_t> Sample::*member,
                            const SequenceLayout& layout, int context_rank) {
  std::vector<int32_t> out;
  out.reserve(samples.size() * static_cast<size_t>(layout.local_length(context_rank)));
  for (const Sample& sample : samples) {
    const std::vector<int32_t>& values = sample.*member;
    CHECK(static_cast<int64_t>(values.size()) == layout.length(), "a sample of {} tokens in a layout of {}",
          values.size(), layout.length());
    for (const Piece& piece : layout.pieces(context_rank))  // in the order of their rows
      out.insert(out.end(), values.begin() + piece.begin, values.begin() + piece.end);
  }
  return out;
}

// Checks what AttentionSpan requires and no kernel checks.
void check_documents(const std::vector<int32_t>& begin) {
  for (size_t i = 0; i < begin.size(); ++i)
    CHECK(begin[i] >= (i > 0 ? begin[i - 1] : 0) && begin[i] <= static_cast<int64_t>(i),
          "the document of position {} begins at {}", i, begin[i]);
}

}  // namespace

Sequences slice(std::span<const Sample> samples, const SequenceLayout& layout, int context_rank, Kernels& kernels,
                Arena& arena) {
  Sequences out;
  out.layout = &layout;
  out.count = static_cast<int64_t>(samples.size());
  out.local_length = layout.local_length(context_rank);
  const bool computes = kernels.backend().computes();  // else the samples may be blank
  const int64_t rows = out.count * out.local_length;
  const auto take = [&](std::vector<int32_t> Sample::*member, Tensor& tensor) {
    tensor = arena.allocate(DType::kI32, {rows});
    if (!computes) return std::vector<int32_t>();
    std::vector<int32_t> values = gather(samples, member, layout, context_rank);
    kernels.upload(values.data(), tensor);
    return values;
  };
  take(&Sample::tokens, out.tokens);
  out.targets_on_host = take(&Sample::targets, out.targets);
  take(&Sample::document_begin, out.document_begin);
  for (const Sample& sample : samples) {
    check_documents(sample.document_begin);
    out.documents.push_back(sample.document_begin);
  }
  return out;
}

}  // namespace ropewalk
