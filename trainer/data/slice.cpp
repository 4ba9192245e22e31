#include "trainer/data/slice.h"

namespace ropewalk {
namespace {

// The rank's positions of one member of every sample, [B * T]; of blank samples 0 everywhere.
std::vector<int32_t> gather(std::span<const Sample> samples, std::vector<int32_t> Sample::*member,
                            const SequenceLayout& layout, int context_rank) {
  std::vector<int32_t> out;
  out.reserve(samples.size() * static_cast<size_t>(layout.local_length(context_rank)));
  for (const Sample& sample : samples) {
    const std::vector<int32_t>& values = sample.*member;
    const bool blank = sample.blank_length > 0;
    CHECK((blank ? sample.blank_length : std::ssize(values)) == layout.length(),
          "a sample of {} tokens in a layout of {}", sample.length(), layout.length());
    for (const Piece& piece : layout.pieces(context_rank)) {  // in the order of their rows
      if (blank)
        out.resize(out.size() + static_cast<size_t>(piece.size()), 0);
      else
        out.insert(out.end(), values.begin() + piece.begin, values.begin() + piece.end);
    }
  }
  return out;
}

Tensor upload(const std::vector<int32_t>& values, Kernels& kernels, Arena& arena) {
  const Tensor tensor = arena.allocate(DType::kI32, {std::ssize(values)});
  if (kernels.backend().computes()) kernels.upload(values.data(), tensor);
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
  const auto on_host = [&](std::vector<int32_t> Sample::*member) {
    return gather(samples, member, layout, context_rank);
  };
  out.targets_on_host = on_host(&Sample::targets);
  out.tokens = upload(on_host(&Sample::tokens), kernels, arena);
  out.targets = upload(out.targets_on_host, kernels, arena);
  out.document_begin = upload(on_host(&Sample::document_begin), kernels, arena);
  for (const Sample& sample : samples) {
    check_documents(sample.document_begin);
    out.documents.push_back(sample.document_begin);
  }
  return out;
}

}  // namespace ropewalk
