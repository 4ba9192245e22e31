// read_documents() into memory, for tests.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "trainer/data/documents.h"

namespace ropewalk {

struct Collected {
  std::vector<std::string> documents;
  size_t longest_piece = 0;
  int64_t bytes = 0;  // the last progress report
  LeftOut skipped;
};

inline Collected collect(const std::string& file, const DocumentOptions& options = {}) {
  Collected out;
  std::string document;
  const DocumentSink sink = {.piece =
                                 [&](std::string_view piece) {
                                   document += piece;
                                   out.longest_piece = std::max(out.longest_piece, piece.size());
                                 },
                             .end =
                                 [&] {
                                   out.documents.push_back(document);
                                   document.clear();
                                 },
                             .progress = [&](int64_t bytes) { out.bytes = bytes; }};
  read_documents(file, options, sink, out.skipped);
  CHECK(document.empty(), "text after the last document: {}", document);
  return out;
}

}  // namespace ropewalk
