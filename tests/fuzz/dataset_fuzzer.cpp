// The input is a Megatron dataset: two bytes with the length of its PREFIX.idx, the index, and its PREFIX.bin. It is
// refused with a DataError, at the latest by check(); or it is sound by a plain reading of the format, and the same
// tokens and documents are read. A sound one is never refused. No block of memory is much larger than the input.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "kernels/error.h"
#include "tests/fuzz/largest_block.h"
#include "tests/support/temporary_directory.h"
#include "trainer/data/indexed_dataset.h"

namespace ropewalk {
namespace {

struct Files {
  std::string index, data;
};

Files files_of(std::string_view input) {
  uint16_t length = 0;
  if (input.size() >= sizeof length) std::memcpy(&length, input.data(), sizeof length);
  input.remove_prefix(std::min(sizeof length, input.size()));
  const size_t index = std::min<size_t>(length, input.size());
  return {std::string(input.substr(0, index)), std::string(input.substr(index))};
}

struct Contents {
  std::vector<double> tokens;
  std::vector<int64_t> document_begins;  // and the end
};

template <typename T>
std::optional<std::vector<T>> array(std::string_view bytes, size_t at, uint64_t count) {
  if (at > bytes.size() || count > (bytes.size() - at) / sizeof(T)) return std::nullopt;
  std::vector<T> out(count);
  if (count > 0) std::memcpy(out.data(), bytes.data() + at, count * sizeof(T));
  return out;
}

template <typename T>
std::vector<double> numbers(std::string_view bytes) {
  const std::vector<T> tokens = *array<T>(bytes, 0, bytes.size() / sizeof(T));
  return {tokens.begin(), tokens.end()};
}

std::vector<double> tokens_of(uint8_t type, std::string_view bytes) {
  switch (type) {
    case 1:
      return numbers<uint8_t>(bytes);
    case 2:
      return numbers<int8_t>(bytes);
    case 3:
      return numbers<int16_t>(bytes);
    case 4:
      return numbers<int32_t>(bytes);
    case 5:
      return numbers<int64_t>(bytes);
    case 6:
      return numbers<double>(bytes);
    case 7:
      return numbers<float>(bytes);
    default:
      return numbers<uint16_t>(bytes);
  }
}

// The plain reading (indexed_format.h has the table); nullopt if anything is wrong.
std::optional<Contents> contents_of(const Files& files, int64_t vocabulary) {
  constexpr size_t kSizes[] = {0, 1, 1, 2, 4, 8, 8, 4, 2};
  const std::string_view index = files.index;
  const auto counts = array<uint64_t>(index, 18, 2);
  if (!counts || !index.starts_with(std::string_view("MMIDIDX\0\0\1\0\0\0\0\0\0\0", 17))) return std::nullopt;
  const auto type = static_cast<uint8_t>(index[17]);
  if (type < 1 || type > 8) return std::nullopt;
  const uint64_t sequences = (*counts)[0], entries = (*counts)[1];
  const auto lengths = array<int32_t>(index, 34, sequences);
  const auto offsets = array<int64_t>(index, 34 + 4 * sequences, sequences);
  const auto documents = array<int64_t>(index, 34 + 12 * sequences, entries);
  if (!lengths || !offsets || !documents || 34 + 12 * sequences + 8 * entries != index.size()) return std::nullopt;
  std::vector<int64_t> begins = {0};  // of the sequences, in tokens; and the end
  for (size_t s = 0; s < sequences; ++s) {
    if ((*lengths)[s] < 0 || (*offsets)[s] != begins[s] * static_cast<int64_t>(kSizes[type])) return std::nullopt;
    begins.push_back(begins[s] + (*lengths)[s]);
  }
  if (begins.back() * static_cast<int64_t>(kSizes[type]) != std::ssize(files.data)) return std::nullopt;
  if (documents->empty() || documents->front() != 0 || documents->back() != static_cast<int64_t>(sequences) ||
      !std::ranges::is_sorted(*documents))
    return std::nullopt;
  Contents out{.tokens = tokens_of(type, files.data), .document_begins = {}};
  for (const int64_t entry : *documents) out.document_begins.push_back(begins[static_cast<size_t>(entry)]);
  const auto good = [&](double token) {
    return token >= 0 && token < static_cast<double>(vocabulary) && std::floor(token) == token;
  };
  return std::ranges::all_of(out.tokens, good) ? std::optional(out) : std::nullopt;
}

// Whatever the dataset contains, an access gives a value in its range, or a DataError.
void use(const IndexedDataset& dataset) {
  const auto attempt = [](const auto& access) {
    try {
      access();
    } catch (const DataError&) {  // a clear refusal; any other exception is a fault
    }
  };
  for (int64_t document = 0; document <= dataset.documents(); ++document)
    attempt([&] {
      const int64_t begin = dataset.document_begin(document);
      CHECK(begin >= 0 && begin <= dataset.tokens(), "document {} begins at {}", document, begin);
    });
  for (int64_t token = 0; token < dataset.tokens(); ++token) {
    attempt([&] {
      const int64_t document = dataset.document_at(token);
      CHECK(document >= 0 && document < dataset.documents(), "token {} is in document {}", token, document);
    });
    int32_t value = 0;
    attempt([&] { dataset.read(token, {&value, 1}); });
    CHECK(value >= 0, "token {} is {}", token, value);
  }
}

void compare(const IndexedDataset& dataset, const Contents& contents) {
  CHECK(dataset.tokens() == std::ssize(contents.tokens), "{} tokens", dataset.tokens());
  CHECK(dataset.documents() + 1 == std::ssize(contents.document_begins), "{} documents", dataset.documents());
  std::vector<int32_t> tokens(contents.tokens.size());
  dataset.read(0, tokens);
  CHECK(std::ranges::equal(tokens, contents.tokens), "other tokens are read");
  for (size_t d = 0; d < contents.document_begins.size(); ++d)
    CHECK(dataset.document_begin(static_cast<int64_t>(d)) == contents.document_begins[d], "document {}", d);
  for (int64_t token = 0; token < dataset.tokens(); ++token) {
    const auto after = std::ranges::upper_bound(contents.document_begins, token);
    CHECK(dataset.document_at(token) == after - contents.document_begins.begin() - 1, "token {}", token);
  }
}

void read(const std::string& prefix, const Files& files, int64_t vocabulary) {
  const std::optional<Contents> contents = contents_of(files, vocabulary);
  const size_t largest = largest_block([&] {
    try {
      const IndexedDataset dataset(prefix, vocabulary);
      use(dataset);
      dataset.check();
      CHECK(contents, "a damaged dataset is accepted");
      compare(dataset, *contents);
    } catch (const DataError& error) {
      CHECK(!contents, "a sound dataset is refused: {}", error.what());
    }
  });
  const size_t most = files.index.size() + 4 * files.data.size() + 4096;  // tokens of a byte become four; messages
  CHECK(largest <= most, "{} bytes of memory for {} + {}", largest, files.index.size(), files.data.size());
}

}  // namespace
}  // namespace ropewalk

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ropewalk;
  static const TemporaryDirectory directory;
  const Files files = files_of({reinterpret_cast<const char*>(data), size});
  write_file(directory / "x.idx", files.index);
  write_file(directory / "x.bin", files.data);
  for (const int64_t vocabulary : {int64_t{200}, int64_t{1} << 31}) read(directory / "x", files, vocabulary);
  return 0;
}
