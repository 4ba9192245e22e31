#include "trainer/data/indexed_dataset.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "kernels/error.h"
#include "trainer/data/indexed_tokens.h"
#include "trainer/text/format.h"

namespace ropewalk {

using indexed::TokenType;
using indexed::with_type;

namespace {

constexpr int64_t kBlockBytes = int64_t{1} << 22;  // that check_tokens() reads at a time

// Opens a file of the dataset. If it is missing, most likely it was not prepared yet.
InputFile open(FileSystem& system, const std::string& prefix, const char* extension) {
  const std::string path = prefix + extension;
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (std::filesystem::is_other(status))  // opening a pipe would wait for its writer
    throw DataError(fmt::format("{} is no regular file; correct data.prefix", printable_name(path)));
  if (status.type() != std::filesystem::file_type::not_found) return InputFile(system, path);
  for (const std::string ending : {".bin", ".idx"})
    if (prefix.ends_with(ending))
      throw DataError(
          fmt::format("cannot read {}: No such file or directory; data.prefix is without the extension of the two "
                      "files: set it to {}",
                      printable_name(path), printable_name(prefix.substr(0, prefix.size() - ending.size()))));
  throw DataError(
      fmt::format("cannot read {}: No such file or directory; make it with `ropewalk prepare --input FILE... --output "
                  "{}`, or correct data.prefix",
                  printable_name(path), printable_name(prefix)));
}

}  // namespace

IndexedDataset::IndexedDataset(const std::string& prefix, int64_t vocabulary, FileSystem& system)
    : index_(open(system, prefix, ".idx")),
      data_(open(system, prefix, ".bin")),
      index_name_(printable_name(prefix + ".idx")),
      data_name_(printable_name(data_.path().string())),
      vocabulary_(vocabulary),
      data_bytes_(data_.size()) {
  CHECK(vocabulary > 0 && vocabulary <= (int64_t{1} << 31), "a vocabulary of {}", vocabulary);
  if (!index_.has_name()) {  // a writer removes the old index before it renames a new .bin
    throw DataError(fmt::format("{} was replaced while it was opened, so {} may belong to another index; start again",
                                index_name_, data_name_));
  }
  read_header();
  tokens_ = data_bytes_ / token_bytes_;
  if (!ends_agree()) check_index();  // which finds the first place that is wrong
}

bool IndexedDataset::ends_agree() const {
  if (document_entry(0) != 0 || document_entry(documents_) != sequences_) return false;
  if (sequences_ == 0) return data_bytes_ == 0;
  const int64_t last = sequences_ - 1, begin = offset(last);
  return offset(0) == 0 && begin >= 0 && begin <= data_bytes_ && length(last) * token_bytes_ == data_bytes_ - begin;
}

// Whether the document's entry is not below the one before it, and its first sequence begins where the one before ends.
bool IndexedDataset::is_sound_at(int64_t document) const {
  const int64_t entry = document_entry(document);
  if (entry < 0 || entry > sequences_ || (document > 0 && document_entry(document - 1) > entry)) return false;
  if (entry == 0 || entry == sequences_) return true;  // both ends were checked at the beginning
  const int64_t before = offset(entry - 1), bytes = length(entry - 1) * token_bytes_;
  return before >= 0 && bytes >= 0 && before <= data_bytes_ && bytes <= data_bytes_ - before &&
         offset(entry) == before + bytes && offset(entry) % token_bytes_ == 0;
}

void IndexedDataset::check_index() const {
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
        fmt::format("{} has {}, fewer than the {} of an index's header: it is empty or was cut; prepare the "
                    "data again",
                    index_name_, counted(size, "byte"), indexed::kHeaderBytes));
  }
  if (std::memcmp(index_.bytes().data(), indexed::kMagic.data(), indexed::kMagic.size()) != 0) {
    throw DataError(fmt::format(
        "{} does not begin with MMIDIDX: it is not the index of a Megatron dataset; check data.prefix", index_name_));
  }
  if (const auto version = load<uint64_t>(9); version != indexed::kVersion) {
    throw DataError(fmt::format("{} has format version {}; only version {} can be read: prepare the data again",
                                index_name_, version, indexed::kVersion));
  }
  token_type_ = static_cast<TokenType>(load<uint8_t>(17));
  token_bytes_ = size_of(token_type_);
  if (token_bytes_ == 0) {
    throw DataError(
        fmt::format("{} has token type {} ({}); types are u8 (1), i8 (2), i16 (3), i32 (4), i64 (5), f64 (6), "
                    "f32 (7) and u16 (8): prepare the data again",
                    index_name_, load<uint8_t>(17), name_of(token_type_)));
  }

  // The counts are bounded by the file's size before they are multiplied, so that no product overflows.
  const auto sequences = load<uint64_t>(18), entries = load<uint64_t>(26);
  const auto room = static_cast<uint64_t>(size - indexed::kHeaderBytes);
  const std::string document_entries = counted(entries, "document entry", "document entries");
  if (sequences > room / 12 || entries > (room - 12 * sequences) / 8) {
    throw DataError(
        fmt::format("{} has {} bytes, too few for the {} and {} in its header: it was cut; copy it again, or "
                    "prepare the data again",
                    index_name_, size, counted(sequences, "sequence"), document_entries));
  }
  const uint64_t extra = room - 12 * sequences - 8 * entries;
  if (extra != 0 && extra == sequences) {
    throw DataError(fmt::format("{} has a mode for each of its {}: a multimodal dataset; only text can be read",
                                index_name_, counted(sequences, "sequence")));
  }
  if (extra != 0) {
    throw DataError(
        fmt::format("{} has {} more than the {} and {} in its header: "
                    "its header is wrong, or it was written over; prepare the data again",
                    index_name_, counted(extra, "byte"), counted(sequences, "sequence"), document_entries));
  }
  if (entries == 0) {
    throw DataError(
        fmt::format("{} has no document array (0 entries; it begins with 0): prepare the data again", index_name_));
  }
  sequences_ = static_cast<int64_t>(sequences);
  documents_ = static_cast<int64_t>(entries) - 1;
}

// Lengths are not negative, the offsets are their running sum, and the sum is the size of the .bin.
void IndexedDataset::check_sequences() const {
  int64_t expected = 0;
  for (int64_t s = 0; s < sequences_; ++s) {
    const int64_t tokens = length(s);
    if (tokens < 0) {
      throw DataError(fmt::format("{}: sequence {} has length {}; it must be 0 or more: prepare the data again",
                                  index_name_, s, tokens));
    }
    if (offset(s) != expected) {
      throw DataError(
          fmt::format("{}: sequence {} begins at byte {}; the lengths before it add to byte {}: prepare the data "
                      "again",
                      index_name_, s, offset(s), expected));
    }
    if (tokens * token_bytes_ > data_bytes_ - expected) {
      throw DataError(
          fmt::format("{} has {}, but by {} sequence {} is {} of {} at byte {}: it was cut, or is another "
                      "dataset's; copy it again, or prepare the data again",
                      data_name_, counted(data_bytes_, "byte"), index_name_, s, counted(tokens, "token"),
                      name_of(token_type_), expected));
    }
    expected += tokens * token_bytes_;
  }
  if (expected != data_bytes_) {
    throw DataError(
        fmt::format("{} has {}, {} more than {} accounts for: it is another dataset's; copy both again, or "
                    "prepare the data again",
                    data_name_, counted(data_bytes_, "byte"), data_bytes_ - expected, index_name_));
  }
}

void IndexedDataset::check_documents() const {
  int64_t previous = 0;
  for (int64_t d = 0; d <= documents_; ++d) {
    const int64_t entry = document_entry(d);
    if (d == 0 ? entry != 0 : entry < previous || entry > sequences_) {
      throw DataError(fmt::format("{}: entry {} of the document array is {}; it must be {}: prepare the data again",
                                  index_name_, d, entry,
                                  d == 0 ? "0" : fmt::format("in [{}, {}]", previous, sequences_)));
    }
    previous = entry;
  }
  if (previous != sequences_) {
    throw DataError(fmt::format("{}: the document array ends at sequence {} of {}: prepare the data again", index_name_,
                                previous, sequences_));
  }
}

int64_t IndexedDataset::document_begin(int64_t document) const {
  if (!is_sound_at(document)) check_index();
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

void IndexedDataset::read_raw(int64_t begin, std::vector<std::byte>& bytes) const {
  data_.read(begin * token_bytes_, bytes.data(), bytes.size());
  const size_t count = bytes.size() / static_cast<size_t>(token_bytes_);
  const size_t good =
      with_type(token_type_, [&]<typename T>() { return indexed::count_good<T>(bytes.data(), count, vocabulary_); });
  if (good == count) return;
  const int64_t position = begin + static_cast<int64_t>(good);
  const auto [value, too_large] = with_type(token_type_, [&]<typename T>() {
    const T token = indexed::load_token<T>(bytes.data(), good);
    return std::pair(fmt::format("{}", token), static_cast<double>(token) >= static_cast<double>(vocabulary_));
  });
  throw DataError(fmt::format(
      "{}: token {} (byte {}, in document {}) is {}; tokens must be {}in [0, {}): {}prepare "
      "the data with this model's "
      "tokenizer",
      data_name_, position, position * token_bytes_, document_at(position), value,
      is_floating(token_type_) ? "whole numbers " : "", vocabulary_, too_large ? "raise model.vocabulary, or " : ""));
}

void IndexedDataset::read(int64_t begin, std::span<int32_t> tokens) const {
  const auto count = static_cast<int64_t>(tokens.size());
  CHECK(begin >= 0 && count <= tokens_ && begin <= tokens_ - count, "tokens [{}, {} + {}) of {}", begin, begin, count,
        tokens_);
  std::vector<std::byte> bytes(tokens.size() * static_cast<size_t>(token_bytes_));
  read_raw(begin, bytes);
  with_type(token_type_, [&]<typename T>() { indexed::widen<T>(bytes.data(), tokens); });
}

void IndexedDataset::check(const std::function<void(int64_t tokens)>& progress) const {
  check_index();
  std::vector<std::byte> bytes;
  for (int64_t begin = 0; begin < tokens_;) {
    const int64_t count = std::min(kBlockBytes / token_bytes_, tokens_ - begin);
    bytes.resize(static_cast<size_t>(count * token_bytes_));
    read_raw(begin, bytes);
    begin += count;
    if (progress) progress(begin);
  }
}

}  // namespace ropewalk
