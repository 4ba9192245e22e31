#include "trainer/data/indexed_dataset.h"

#include <cstring>
#include <vector>

#include "kernels/error.h"

namespace ropewalk {

using indexed::TokenType;

namespace {

// Widens tokens and returns how many came before the first that is not in [0, vocabulary).
template <typename T>
size_t convert(const std::byte* from, int64_t vocabulary, std::span<int32_t> to) {
  bool bad = false;
  for (size_t i = 0; i < to.size(); ++i) {
    T token;
    std::memcpy(&token, from + i * sizeof(T), sizeof(T));
    bad |= token < 0 || static_cast<int64_t>(token) >= vocabulary;
    to[i] = static_cast<int32_t>(token);
  }
  if (!bad) return to.size();
  for (size_t i = 0;; ++i) {
    T token;
    std::memcpy(&token, from + i * sizeof(T), sizeof(T));
    if (token < 0 || static_cast<int64_t>(token) >= vocabulary) return i;
  }
}

size_t convert(TokenType type, const std::byte* from, int64_t vocabulary, std::span<int32_t> to) {
  switch (type) {
    case TokenType::kU8:
      return convert<uint8_t>(from, vocabulary, to);
    case TokenType::kI8:
      return convert<int8_t>(from, vocabulary, to);
    case TokenType::kI16:
      return convert<int16_t>(from, vocabulary, to);
    case TokenType::kU16:
      return convert<uint16_t>(from, vocabulary, to);
    case TokenType::kI32:
      return convert<int32_t>(from, vocabulary, to);
    case TokenType::kI64:
      return convert<int64_t>(from, vocabulary, to);
    default:
      CHECK(false, "tokens of type {}", name_of(type));
  }
  return 0;
}

int64_t token_value(TokenType type, const std::byte* from) {
  uint64_t bits = 0;
  std::memcpy(&bits, from, static_cast<size_t>(size_of(type)));
  switch (type) {
    case TokenType::kI8:
      return static_cast<int8_t>(bits);
    case TokenType::kI16:
      return static_cast<int16_t>(bits);
    case TokenType::kI32:
      return static_cast<int32_t>(bits);
    default:
      return static_cast<int64_t>(bits);
  }
}

}  // namespace

IndexedDataset::IndexedDataset(const std::string& prefix, int64_t vocabulary)
    : index_path_(prefix + ".idx"),
      index_(index_path_),
      data_(File::open(prefix + ".bin")),
      vocabulary_(vocabulary),
      data_bytes_(data_.size()) {
  CHECK(vocabulary > 0 && vocabulary <= (int64_t{1} << 31), "a vocabulary of {}", vocabulary);
  read_header();
  check_sequences();
  check_documents();
}

template <typename T>
T IndexedDataset::load(int64_t position) const {
  T value;
  std::memcpy(&value, index_.bytes().data() + position, sizeof(T));
  return value;
}

int32_t IndexedDataset::length(int64_t sequence) const { return load<int32_t>(indexed::kHeaderBytes + 4 * sequence); }

int64_t IndexedDataset::offset(int64_t sequence) const {
  return load<int64_t>(indexed::kHeaderBytes + 4 * sequences_ + 8 * sequence);
}

int64_t IndexedDataset::document_entry(int64_t document) const {
  return load<int64_t>(indexed::kHeaderBytes + 12 * sequences_ + 8 * document);
}

void IndexedDataset::read_header() {
  const int64_t size = static_cast<int64_t>(index_.bytes().size());
  if (size < indexed::kHeaderBytes) {
    throw DataError(
        fmt::format("{} has {} bytes, fewer than the {} of an index's header: it is empty or was cut; prepare the "
                    "data again",
                    index_path_, size, indexed::kHeaderBytes));
  }
  if (std::memcmp(index_.bytes().data(), indexed::kMagic.data(), indexed::kMagic.size()) != 0) {
    throw DataError(fmt::format(
        "{} does not begin with MMIDIDX: it is not the index of a Megatron dataset; check data.prefix", index_path_));
  }
  if (const auto version = load<uint64_t>(9); version != indexed::kVersion) {
    throw DataError(fmt::format("{} has format version {}; only version {} can be read: prepare the data again",
                                index_path_, version, indexed::kVersion));
  }
  token_type_ = static_cast<TokenType>(load<uint8_t>(17));
  token_bytes_ = size_of(token_type_);
  if (token_bytes_ == 0) {
    throw DataError(
        fmt::format("{} has token type {} ({}); tokens are u8 (1), i8 (2), i16 (3), i32 (4), i64 (5) or u16 (8): "
                    "prepare the data again",
                    index_path_, load<uint8_t>(17), name_of(token_type_)));
  }

  // The counts are bounded by the file's size before they are multiplied, so that no product overflows.
  const auto sequences = load<uint64_t>(18), entries = load<uint64_t>(26);
  const auto room = static_cast<uint64_t>(size - indexed::kHeaderBytes);
  if (sequences > room / 12 || entries > (room - 12 * sequences) / 8) {
    throw DataError(
        fmt::format("{} has {} bytes, too few for the {} sequences and {} document entries that its header tells "
                    "of: it was cut; copy it again, or prepare the data again",
                    index_path_, size, sequences, entries));
  }
  const uint64_t extra = room - 12 * sequences - 8 * entries;
  if (extra != 0 && extra == sequences) {
    throw DataError(
        fmt::format("{} has a mode for each of its {} sequences: a multimodal dataset; only text can be read",
                    index_path_, sequences));
  }
  if (extra != 0) {
    throw DataError(
        fmt::format("{} has {} bytes more than the {} sequences and {} document entries that its header tells of: "
                    "its header is wrong, or it was written over; prepare the data again",
                    index_path_, extra, sequences, entries));
  }
  if (entries == 0) {
    throw DataError(
        fmt::format("{} has no document array (0 entries; it begins with 0): prepare the data again", index_path_));
  }
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
}

// Lengths are not negative, the offsets are their running sum, and the sum is the size of the .bin.
void IndexedDataset::check_sequences() {
  int64_t expected = 0;
  for (int64_t s = 0; s < sequences_; ++s) {
    const int64_t tokens = length(s);
    if (tokens < 0) {
      throw DataError(fmt::format("{}: sequence {} has length {}; it must be 0 or more: prepare the data again",
                                  index_path_, s, tokens));
    }
    if (offset(s) != expected) {
      throw DataError(
          fmt::format("{}: sequence {} begins at byte {}; the lengths before it add to byte {}: prepare the data "
                      "again",
                      index_path_, s, offset(s), expected));
    }
    if (tokens * token_bytes_ > data_bytes_ - expected) {
      throw DataError(
          fmt::format("{} has {} bytes, but by {} sequence {} is {} tokens of {} at byte {}: it was cut, or is another "
                      "dataset's; copy it again, or prepare the data again",
                      data_.path(), data_bytes_, index_path_, s, tokens, name_of(token_type_), expected));
    }
    expected += tokens * token_bytes_;
  }
  if (expected != data_bytes_) {
    throw DataError(
        fmt::format("{} has {} bytes, {} more than {} tells of: it is another dataset's; copy both again, or "
                    "prepare the data again",
                    data_.path(), data_bytes_, data_bytes_ - expected, index_path_));
  }
  tokens_ = expected / token_bytes_;
}

void IndexedDataset::check_documents() const {
  int64_t previous = 0;
  for (int64_t d = 0; d <= documents_; ++d) {
    const int64_t entry = document_entry(d);
    if (d == 0 ? entry != 0 : entry < previous || entry > sequences_) {
      throw DataError(fmt::format("{}: entry {} of the document array is {}; it must be {}: prepare the data again",
                                  index_path_, d, entry,
                                  d == 0 ? "0" : fmt::format("in [{}, {}]", previous, sequences_)));
    }
    previous = entry;
  }
  if (previous != sequences_) {
    throw DataError(fmt::format("{}: the document array ends at sequence {} of {}: prepare the data again", index_path_,
                                previous, sequences_));
  }
}

int64_t IndexedDataset::document_begin(int64_t document) const {
  const int64_t sequence = document_entry(document);
  return sequence == sequences_ ? tokens_ : offset(sequence) / token_bytes_;
}

int64_t IndexedDataset::document_at(int64_t token) const {
  CHECK(token >= 0 && token < tokens_, "token {} of {}", token, tokens_);
  int64_t low = 0, high = documents_;  // document_begin(low) <= token < document_begin(high)
  while (high - low > 1) {
    const int64_t middle = low + (high - low) / 2;
    (document_begin(middle) <= token ? low : high) = middle;
  }
  return low;
}

void IndexedDataset::read(int64_t begin, std::span<int32_t> tokens) const {
  const auto count = static_cast<int64_t>(tokens.size());
  CHECK(begin >= 0 && count <= tokens_ && begin <= tokens_ - count, "tokens [{}, {} + {}) of {}", begin, begin, count,
        tokens_);
  std::vector<std::byte> bytes(tokens.size() * static_cast<size_t>(token_bytes_));
  data_.read_at(begin * token_bytes_, bytes.data(), bytes.size());
  const size_t good = convert(token_type_, bytes.data(), vocabulary_, tokens);
  if (good == tokens.size()) return;
  const int64_t position = begin + static_cast<int64_t>(good);
  throw DataError(
      fmt::format("{}: token {} (byte {}) is {}; tokens must be in [0, {}): raise model.vocabulary, or prepare the "
                  "data with this model's tokenizer",
                  data_.path(), position, position * token_bytes_,
                  token_value(token_type_, bytes.data() + good * static_cast<size_t>(token_bytes_)), vocabulary_));
}

}  // namespace ropewalk
