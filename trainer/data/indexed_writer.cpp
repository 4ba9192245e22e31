#include "trainer/data/indexed_writer.h"

#include <algorithm>
#include <cstring>
#include <memory>

#include "kernels/error.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr size_t kBlockTokens = size_t{1} << 18;  // written at a time
constexpr size_t kBlockEntries = size_t{1} << 16;

// Writes an array of the index, a block of entries at a time.
class ArrayWriter {
 public:
  explicit ArrayWriter(OutputFile& file) : file_(file) { entries_.reserve(kBlockEntries); }
  void add(int64_t entry) {
    entries_.push_back(entry);
    if (entries_.size() == kBlockEntries) flush();
  }
  void flush() {
    file_.write(entries_.data(), entries_.size() * sizeof(int64_t));
    entries_.clear();
  }

 private:
  OutputFile& file_;
  std::vector<int64_t> entries_;
};

void narrow(std::span<const int32_t> tokens, indexed::TokenType type, char* to) {
  if (type == indexed::TokenType::kI32) {
    std::memcpy(to, tokens.data(), tokens.size_bytes());
    return;
  }
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto token = static_cast<uint16_t>(tokens[i]);
    std::memcpy(to + 2 * i, &token, 2);
  }
}

NewFile::Leftover leftover(const LockFile& lock, const std::string& prefix) {
  if (lock.state() == LockFile::State::kHeldByAnother)
    throw ConfigurationError(
        fmt::format("{} is being written by another prepare ({}); wait for it, stop it, or choose "
                    "another --output",
                    printable_name(prefix), lock.holder()));
  return lock.state() == LockFile::State::kHeld ? NewFile::Leftover::kRemove : NewFile::Leftover::kRefuse;
}

}  // namespace

IndexedWriter::IndexedWriter(const std::string& prefix, int64_t vocabulary, int64_t max_sequence_tokens,
                             FileSystem& system, Targets targets)
    : system_(system),
      prefix_(prefix),
      vocabulary_(vocabulary),
      max_sequence_tokens_(max_sequence_tokens),
      type_(indexed::token_type_for(vocabulary)),
      lock_(prefix + ".lock.tmp", LockFile::AtEnd::kRemoved, system),
      leftover_(leftover(lock_, prefix)),
      data_(system, prefix + ".bin", prefix + ".bin.tmp", leftover_),
      index_(system, prefix + ".idx", prefix + ".idx.tmp", leftover_) {
  CHECK(vocabulary > 0 && vocabulary <= (int64_t{1} << 31), "a vocabulary of {}", vocabulary);
  CHECK(max_sequence_tokens > 0 && max_sequence_tokens <= indexed::kMaxSequenceTokens, "sequences of {} tokens",
        max_sequence_tokens);
  if (leftover_ == NewFile::Leftover::kRemove) {
    for (const std::string extension : kSideExtensions) remove_if_there(system_, prefix_ + extension + ".tmp");
    remove_if_there(system_, prefix_ + kTargetsExtension + ".tmp");
  }
  if (targets == Targets::kMasked) {
    const std::string mask = prefix + kTargetsExtension;
    mask_file_.emplace(system, mask, mask + ".tmp", leftover_);
    mask_.emplace(*mask_file_);
  }
  const std::vector<char> header(indexed::kHeaderBytes);
  index_.write(header.data(), header.size());
}

void IndexedWriter::append(std::span<const int32_t> tokens) {
  const auto token_bytes = static_cast<size_t>(size_of(type_));
  while (!tokens.empty()) {
    if (sequence_tokens_ == max_sequence_tokens_) {
      continued_.push_back(sequences_);
      end_sequence();
    }
    const size_t room = kBlockTokens - data_bytes_.size() / token_bytes;
    const auto count = std::min({tokens.size(), room, static_cast<size_t>(max_sequence_tokens_ - sequence_tokens_)});
    const auto now = tokens.first(count);
    uint32_t largest = 0;
    for (const int32_t token : now) largest = std::max(largest, static_cast<uint32_t>(token));
    CHECK(largest < static_cast<uint64_t>(vocabulary_), "token {} of a vocabulary of {}", static_cast<int32_t>(largest),
          vocabulary_);

    const size_t end = data_bytes_.size();
    data_bytes_.resize(end + count * token_bytes);
    narrow(now, type_, data_bytes_.data() + end);
    if (data_bytes_.size() == kBlockTokens * token_bytes) {
      data_.write(data_bytes_.data(), data_bytes_.size());
      data_bytes_.clear();
    }
    tokens = tokens.subspan(count);
    tokens_ += static_cast<int64_t>(count);
    sequence_tokens_ += static_cast<int64_t>(count);
  }
}

void IndexedWriter::append_targets(const std::vector<bool>& is_target) { mask_->append(is_target); }

void IndexedWriter::end_sequence() {
  lengths_.push_back(static_cast<int32_t>(sequence_tokens_));
  if (lengths_.size() == kBlockEntries) {
    index_.write(lengths_.data(), lengths_.size() * sizeof(int32_t));
    lengths_.clear();
  }
  ++sequences_;
  sequence_tokens_ = 0;
}

void IndexedWriter::end_document() {
  end_sequence();
  ++documents_;
}

// The lengths are read back from the file. Offsets are their running sum; the document array counts sequences.
void IndexedWriter::write_index() {
  index_.write(lengths_.data(), lengths_.size() * sizeof(int32_t));
  ArrayWriter array(index_);
  int64_t offset = 0;
  for (int64_t begin = 0; begin < sequences_; begin += static_cast<int64_t>(kBlockEntries)) {
    lengths_.resize(static_cast<size_t>(std::min<int64_t>(kBlockEntries, sequences_ - begin)));
    index_.read(indexed::kHeaderBytes + 4 * begin, lengths_.data(), lengths_.size() * sizeof(int32_t));
    for (const int32_t length : lengths_) {
      array.add(offset);
      offset += length * size_of(type_);
    }
  }
  array.add(0);
  auto continued = continued_.begin();
  for (int64_t s = 0; s < sequences_; ++s) {
    if (continued != continued_.end() && *continued == s) {
      ++continued;
    } else {
      array.add(s + 1);
    }
  }
  array.flush();

  char header[indexed::kHeaderBytes];
  const auto type = static_cast<uint8_t>(type_);
  const auto sequences = static_cast<uint64_t>(sequences_), entries = static_cast<uint64_t>(documents_) + 1;
  std::memcpy(header, indexed::kMagic.data(), 9);
  std::memcpy(header + 9, &indexed::kVersion, 8);
  std::memcpy(header + 17, &type, 1);
  std::memcpy(header + 18, &sequences, 8);
  std::memcpy(header + 26, &entries, 8);
  index_.write_at(0, header, sizeof(header));
}

void IndexedWriter::remove_old(const std::string& extension) {
  const std::string path = prefix_ + extension;
  if (remove_if_there(system_, path)) sync_parent(system_, path);
}

void IndexedWriter::finish(const std::vector<SideFile>& side_files) {
  CHECK(sequence_tokens_ == 0, "{} tokens are in no document", sequence_tokens_);
  data_.write(data_bytes_.data(), data_bytes_.size());
  write_index();
  if (mask_) {
    CHECK(mask_->tokens() == tokens_, "the targets of {} of {} tokens", mask_->tokens(), tokens_);
    mask_->finish();
    mask_file_->close();
  }
  data_.close();
  index_.close();
  std::vector<std::unique_ptr<NewFile>> beside;
  for (const auto& [extension, contents] : side_files) {
    const std::string path = prefix_ + extension;
    beside.push_back(std::make_unique<NewFile>(system_, path, path + ".tmp", leftover_));
    beside.back()->write(contents);
    beside.back()->close();
  }

  // After a crash at any step an index, if there is one, belongs to the files beside it: the old index is removed
  // before any other file changes its name, and each step is durable before the next.
  remove_old(".idx");
  for (const std::string extension : kSideExtensions)
    if (std::ranges::find(side_files, extension, &SideFile::extension) == side_files.end()) remove_old(extension);
  if (!mask_) remove_old(kTargetsExtension);
  data_.take_name();
  if (mask_) mask_file_->take_name();
  for (const auto& file : beside) file->take_name();
  durable_ = index_.take_name();
}

}  // namespace ropewalk
