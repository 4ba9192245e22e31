#include "trainer/data/slice.h"

namespace ropewalk {
namespace {

// The rank's positions of one member of every sample, [B * T] on the device.
Tensor gather(std::span<const Sample> samples, std::vector<int32_t> Sample::*member, const SequenceLayout& layout,
              int context_rank, Kernels& kernels, Arena& arena) {
  const int64_t rows = std::ssize(samples) * layout.local_length(context_rank);
  const Tensor tensor = arena.allocate(DType::kI32, {rows});
  if (!kernels.backend().computes()) return tensor;
  std::vector<int32_t> host;
  host.reserve(static_cast<size_t>(rows));
  for (const Sample& sample : samples) {
    const std::vector<int32_t>& values = sample.*member;
    CHECK(static_cast<int64_t>(values.size()) == layout.length(), "a sample of {} tokens in a layout of {}",
          values.size(), layout.length());
    for (const Piece& piece : layout.pieces(context_rank)) {  // in the order of their rows
      host.insert(host.end(), values.begin() + piece.begin, values.begin() + piece.end);
    }
  }
  kernels.upload(host.data(), tensor);
  return tensor;
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
  out.tokens = gather(samples, &Sample::tokens, layout, context_rank, kernels, arena);
  out.targets = gather(samples, &Sample::targets, layout, context_rank, kernels, arena);
  out.document_begin = gather(samples, &Sample::document_begin, layout, context_rank, kernels, arena);
  for (const Sample& sample : samples) {
    check_documents(sample.document_begin);
    out.documents.push_back(sample.document_begin);
  }
  return out;
}

}  // namespace ropewalk
