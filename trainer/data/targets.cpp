#include "trainer/data/targets.h"

#include <bit>
#include <cstring>
#include <filesystem>

#include "kernels/error.h"
#include "trainer/files/crc32c.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

static_assert(std::endian::native == std::endian::little, "the header is read and written as it lies in memory");

constexpr size_t kBlockBytes = size_t{1} << 20;  // written and read back at a time

struct Header {
  char magic[8];
  uint32_t version, crc;
  uint64_t tokens;
};
static_assert(sizeof(Header) == targets::kHeaderBytes);

int64_t mask_bytes(int64_t tokens) { return tokens / 8 + (tokens % 8 != 0); }

Header header_of(std::span<const std::byte> bytes, const std::string& name) {
  Header header;
  if (bytes.size() < sizeof(header))
    throw DataError(
        fmt::format("{} has {}, fewer than the {} of its header: it is empty or was cut; prepare the data "
                    "again",
                    name, counted(bytes.size(), "byte"), sizeof(header)));
  std::memcpy(&header, bytes.data(), sizeof(header));
  if (std::string_view(header.magic, sizeof(header.magic)) != targets::kMagic)
    throw DataError(fmt::format("{} does not begin with {}: it is no mask of targets; prepare the data again", name,
                                targets::kMagic));
  if (header.version != targets::kVersion)
    throw DataError(fmt::format("{} has format version {}; only version {} can be read: prepare the data again", name,
                                header.version, targets::kVersion));
  return header;
}

}  // namespace

TargetMask::TargetMask(const std::string& file, int64_t tokens, FileSystem& system)
    : file_(InputFile(system, file)), tokens_(tokens) {
  const std::span<const std::byte> bytes = file_.bytes();
  const std::string name = printable_name(file);
  const Header header = header_of(bytes, name);
  if (header.tokens != static_cast<uint64_t>(tokens))
    throw DataError(
        fmt::format("{} is the mask of {}, but the index beside it has {}: it is another dataset's; copy "
                    "all files again, or prepare the data again",
                    name, counted(header.tokens, "token"), tokens));
  if (std::ssize(bytes) != targets::kHeaderBytes + mask_bytes(tokens))
    throw DataError(fmt::format("{} has {}; a mask of {} has {}: it was cut or written over; prepare the data again",
                                name, counted(bytes.size(), "byte"), counted(tokens, "token"),
                                targets::kHeaderBytes + mask_bytes(tokens)));
  const std::span<const std::byte> checked = bytes.subspan(targets::kCheckedFrom);
  if (crc32c(checked.data(), checked.size()) != header.crc)
    throw DataError(
        fmt::format("{} is damaged: its checksum is wrong; copy it again, or prepare the data again", name));
  if (tokens % 8 != 0 && std::to_integer<unsigned>(bytes.back()) >> tokens % 8 != 0)
    throw DataError(fmt::format("{} has a target behind its last token; prepare the data again", name));
}

int64_t TargetMask::find(int64_t begin, int64_t end) const {
  for (int64_t token = begin; token < end;) {
    if (token % 8 == 0 && byte_of(token) == 0) {
      token += 8;
    } else if ((*this)[token]) {
      return token;
    } else {
      ++token;
    }
  }
  return end;
}

int64_t TargetMask::count(int64_t begin, int64_t end) const {
  int64_t count = 0;
  for (int64_t token = begin; token < end;) {
    if (token % 8 == 0 && end - token >= 8) {
      count += std::popcount(byte_of(token));
      token += 8;
    } else {
      count += (*this)[token++];
    }
  }
  return count;
}

std::unique_ptr<const TargetMask> open_target_mask(const std::string& prefix, int64_t tokens) {
  const std::string name = prefix + kTargetsExtension;
  std::error_code error;
  if (std::filesystem::symlink_status(name, error).type() == std::filesystem::file_type::not_found) return nullptr;
  return std::make_unique<const TargetMask>(name, tokens);
}

TargetWriter::TargetWriter(OutputFile& file) : file_(file) {
  const Header empty = {};
  file_.write(&empty, sizeof(empty));
}

void TargetWriter::append(const std::vector<bool>& is_target) {
  for (const bool target : is_target) {
    if (tokens_ % 8 == 0) {
      if (bytes_.size() == kBlockBytes) flush();
      bytes_.push_back(0);
    }
    if (target) bytes_.back() |= static_cast<unsigned char>(1 << tokens_ % 8);
    ++tokens_;
  }
}

void TargetWriter::flush() {
  file_.write(bytes_.data(), bytes_.size());
  bytes_.clear();
}

void TargetWriter::finish() {
  flush();
  Header header = {.magic = {}, .version = targets::kVersion, .crc = 0, .tokens = static_cast<uint64_t>(tokens_)};
  std::memcpy(header.magic, targets::kMagic.data(), sizeof(header.magic));
  Crc32c crc;  // of the number of tokens, which precedes the bits, and of the bits, read back
  crc.update(&header.tokens, sizeof(header.tokens));
  for (int64_t at = targets::kHeaderBytes; at < file_.size(); at += std::ssize(bytes_)) {
    bytes_.resize(std::min(kBlockBytes, static_cast<size_t>(file_.size() - at)));
    file_.read(at, bytes_.data(), bytes_.size());
    crc.update(bytes_.data(), bytes_.size());
  }
  header.crc = crc.value();
  file_.write_at(0, &header, sizeof(header));
}

}  // namespace ropewalk
