// A corrupt .idx or .bin is refused with what is wrong and where, whichever byte is corrupt.
#include <filesystem>
#include <fstream>
#include <functional>

#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/index_bytes.h"
#include "trainer/data/indexed_dataset.h"

namespace ropewalk {
namespace {

// Three documents: [1 2 3], [4 5], [] of two sequences, [6].
IndexBytes small_index() {
  IndexBytes index;
  index.lengths = {3, 2, 0, 1};
  index.offsets = {0, 6, 10, 10};
  index.documents = {0, 1, 3, 4};
  return index;
}
const std::string kData = bytes_of<uint16_t>({1, 2, 3, 4, 5, 6});

class Corruption : public ::testing::Test {
 protected:
  void expect_refused(const std::string& index, const std::string& data, const std::vector<std::string>& parts) {
    write_file(folder_ / "x.idx", index);
    write_file(folder_ / "x.bin", data);
    expect_error<DataError>([&] { IndexedDataset(folder_ / "x", 10).check_index(); }, parts);
  }
  void expect_refused(const std::function<void(IndexBytes&)>& spoil, const std::vector<std::string>& parts) {
    IndexBytes index = small_index();
    spoil(index);
    expect_refused(index.text(), kData, parts);
  }
  // Refuses a header with these counts, with the rest of the index unchanged.
  void expect_counts_refused(uint64_t sequences, uint64_t entries, const std::vector<std::string>& parts) {
    std::string index = small_index().text();
    std::memcpy(index.data() + 18, &sequences, 8);
    std::memcpy(index.data() + 26, &entries, 8);
    expect_refused(index, kData, parts);
  }
  TemporaryDirectory folder_;
};

TEST_F(Corruption, TheSoundOneOpens) {
  write_file(folder_ / "x.idx", small_index().text());
  write_file(folder_ / "x.bin", kData);
  const IndexedDataset dataset(folder_ / "x", 10);
  dataset.check();
  EXPECT_EQ(dataset.tokens(), 6);
}

TEST_F(Corruption, Header) {
  expect_refused([](IndexBytes& i) { i.magic[0] = 'm'; }, {"x.idx", "MMIDIDX"});
  expect_refused([](IndexBytes& i) { i.magic[8] = 1; }, {"x.idx", "MMIDIDX"});
  expect_refused([](IndexBytes& i) { i.version = 2; }, {"x.idx", "version 2"});
  expect_refused([](IndexBytes& i) { i.version = uint64_t{1} << 32 | 1; }, {"x.idx", "version 4294967297"});
  expect_refused([](IndexBytes& i) { i.type = 0; }, {"x.idx", "type 0 (unknown)"});
  expect_refused([](IndexBytes& i) { i.type = 9; }, {"x.idx", "type 9"});
  expect_refused([](IndexBytes& i) { i.type = 255; }, {"x.idx", "type 255"});
}

TEST_F(Corruption, Counts) {
  expect_counts_refused(5, 4, {"x.idx", "5 sequences"});
  expect_counts_refused(4, 5, {"x.idx", "5 document entries"});
  expect_counts_refused(3, 4, {"x.idx", "12 bytes more"});
  expect_counts_refused(4, 3, {"x.idx", "8 bytes more"});
  expect_counts_refused(0, 0, {"x.idx", "bytes more"});
  // Products that wrap: 12 * 2^62 = 3 * 2^64, 8 * 2^61 = 2^64.
  for (const uint64_t huge :
       {uint64_t{1} << 61, uint64_t{1} << 62, uint64_t{1} << 63, ~uint64_t{0}, uint64_t{1} << 40}) {
    expect_counts_refused(huge, 4, {"x.idx", "too few", std::to_string(huge)});
    expect_counts_refused(4, huge, {"x.idx", "too few", std::to_string(huge)});
    expect_counts_refused(huge, huge, {"x.idx", "too few"});
    expect_counts_refused((uint64_t{1} << 62) + 4, (uint64_t{1} << 61) + 4, {"x.idx", "too few"});
  }
  expect_refused([](IndexBytes& i) { i = {}; }, {"x.idx", "0 entries"});
}

TEST_F(Corruption, AModePerSequenceIsNamed) {
  expect_refused(small_index().text() + std::string(4, '\0'), kData, {"x.idx", "multimodal"});
}

TEST_F(Corruption, Lengths) {
  expect_refused([](IndexBytes& i) { i.lengths[1] = -1; }, {"x.idx", "sequence 1 has length -1"});
  expect_refused([](IndexBytes& i) { i.lengths[0] = 4; }, {"x.idx", "sequence 1 begins at byte 6", "byte 8"});
  expect_refused([](IndexBytes& i) { i.lengths[3] = 2; },
                 {"x.bin has 12 bytes", "sequence 3", "2 tokens of u16 at byte 10"});
  expect_refused([](IndexBytes& i) { i.lengths[3] = 0x7fffffff; }, {"x.bin", "2147483647 tokens"});
  expect_refused([](IndexBytes& i) { i.lengths[3] = 0; }, {"x.bin has 12 bytes, 2 more"});
}

TEST_F(Corruption, Offsets) {
  expect_refused([](IndexBytes& i) { i.offsets[0] = 2; }, {"x.idx", "sequence 0 begins at byte 2", "byte 0"});
  expect_refused([](IndexBytes& i) { i.offsets[3] = -10; }, {"x.idx", "sequence 3 begins at byte -10", "byte 10"});
  expect_refused([](IndexBytes& i) { i.offsets[2] = std::numeric_limits<int64_t>::max(); }, {"x.idx", "sequence 2"});
}

TEST_F(Corruption, DocumentArray) {
  expect_refused([](IndexBytes& i) { i.documents[0] = 1; }, {"x.idx", "entry 0", "is 1", "must be 0"});
  expect_refused([](IndexBytes& i) { i.documents[1] = 4; }, {"x.idx", "entry 2", "is 3", "[4, 4]"});
  expect_refused([](IndexBytes& i) { i.documents[1] = -1; }, {"x.idx", "entry 1", "is -1", "[0, 4]"});
  expect_refused([](IndexBytes& i) { i.documents[3] = 5; }, {"x.idx", "entry 3", "is 5", "[3, 4]"});
  expect_refused([](IndexBytes& i) { i.documents[3] = 3; }, {"x.idx", "ends at sequence 3 of 4"});
}

TEST_F(Corruption, TypeOfAnotherSize) {
  expect_refused([](IndexBytes& i) { i.type = 4; }, {"x.idx", "sequence 1 begins at byte 6", "byte 12"});
  expect_refused([](IndexBytes& i) { i.type = 1; }, {"x.idx", "sequence 1 begins at byte 6", "byte 3"});
}

TEST_F(Corruption, CutAnywhere) {
  const std::string index = small_index().text();
  for (size_t size = 0; size < index.size(); ++size) expect_refused(index.substr(0, size), kData, {"x.idx"});
  for (size_t size = 0; size < kData.size(); ++size) expect_refused(index, kData.substr(0, size), {"x.bin", "was cut"});
}

TEST_F(Corruption, ExtraBytes) {
  const std::string index = small_index().text();
  for (size_t extra = 1; extra < 40; ++extra) {
    expect_refused(index + std::string(extra, '\0'), kData, {"x.idx"});
    expect_refused(index, kData + std::string(extra, '\0'), {"x.bin", fmt::format("{} more", extra)});
  }
}

// Flips each bit of the index. check_index() must refuse it, except for the few flips that give another valid index;
// such an index must be readable to its end. Without check_index() it is refused, when opened or read, or read to its
// end.
TEST_F(Corruption, EveryBit) {
  const std::string index = small_index().text();
  std::vector<size_t> survivors;
  for (size_t bit = 0; bit < 8 * index.size(); ++bit) {
    std::string spoilt = index;
    spoilt[bit / 8] = static_cast<char>(spoilt[bit / 8] ^ (1 << bit % 8));
    write_file(folder_ / "x.idx", spoilt);
    write_file(folder_ / "x.bin", kData);
    for (const bool checked : {true, false}) {
      try {
        const IndexedDataset dataset(folder_ / "x", 10);
        if (checked) dataset.check_index();
        if (checked) survivors.push_back(bit);
        std::vector<int32_t> tokens(static_cast<size_t>(dataset.tokens()));
        dataset.read(0, tokens);
        for (int64_t t = 0; t < dataset.tokens(); ++t) {
          const int64_t document = dataset.document_at(t);
          EXPECT_LE(dataset.document_begin(document), t);
          EXPECT_GT(dataset.document_begin(document + 1), t);
        }
      } catch (const DataError&) {
      }
    }
  }
  // Document boundaries that are also valid at other places: entry 1 (1 -> 0, 3) and entry 2 (3 -> 2, 1).
  const size_t entry1 = 8 * (34 + 12 * 4 + 8), entry2 = entry1 + 64;
  EXPECT_EQ(survivors, (std::vector<size_t>{entry1, entry1 + 1, entry2, entry2 + 1}));
}

// 1,000 documents of two tokens; document 500 begins at a wrong byte. Opening looks only at the ends; the damage is
// found where it is used, with the message of check_index().
TEST_F(Corruption, IsFoundWhereItIsRead) {
  IndexBytes index;
  index.documents = {0};
  for (int64_t d = 0; d < 1'000; ++d) {
    index.lengths.push_back(2);
    index.offsets.push_back(4 * d);
    index.documents.push_back(d + 1);
  }
  const std::vector<std::function<void(IndexBytes&)>> damages = {
      [](IndexBytes& i) { i.offsets[500] += 2; },     [](IndexBytes& i) { i.offsets[500] += 1; },
      [](IndexBytes& i) { i.lengths[499] = 3; },      [](IndexBytes& i) { i.lengths[499] = -2; },
      [](IndexBytes& i) { i.documents[500] = -1; },   [](IndexBytes& i) { i.documents[500] = 498; },
      [](IndexBytes& i) { i.documents[500] = 1'001; }};
  for (const auto& spoil : damages) {
    IndexBytes spoilt = index;
    spoil(spoilt);
    write_file(folder_ / "x.idx", spoilt.text());
    write_file(folder_ / "x.bin", std::string(4'000, '\0'));
    const IndexedDataset dataset(folder_ / "x", 10);
    EXPECT_EQ(dataset.document_begin(300), 600);
    std::string whole;
    try {
      dataset.check_index();
    } catch (const DataError& error) {
      whole = error.what();
    }
    EXPECT_NE(whole, "");
    expect_error<DataError>([&] { dataset.document_begin(500); }, {whole});
    expect_error<DataError>([&] { dataset.document_at(1'000); }, {whole});
  }
}

// Opening an index of 200 MB with ten million documents takes no longer than opening a small one: it is not read.
TEST_F(Corruption, OpeningDoesNotReadTheIndex) {
  constexpr int64_t kDocuments = 10'000'000, kLength = 500, kIndexBytes = 34 + 12 * kDocuments + 8 * (kDocuments + 1);
  std::string header = IndexBytes{}.text();
  const uint64_t counts[] = {kDocuments, kDocuments + 1};
  std::memcpy(header.data() + 18, counts, 16);
  write_file(folder_ / "x.idx", header.substr(0, 34));
  write_file(folder_ / "x.bin", "");
  std::filesystem::resize_file(folder_ / "x.idx", kIndexBytes);  // sparse, so every entry between the ends is 0
  std::filesystem::resize_file(folder_ / "x.bin", 2 * kDocuments * kLength);
  const auto set = [&](int64_t at, const auto& value) {
    std::fstream file(folder_ / "x.idx", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(at).write(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  set(34 + 4 * (kDocuments - 1), static_cast<int32_t>(kLength));
  set(34 + 12 * kDocuments - 8, int64_t{2 * (kDocuments - 1) * kLength});
  set(kIndexBytes - 8, int64_t{kDocuments});
  const IndexedDataset dataset(folder_ / "x", 10);  // would throw if it looked between the ends
  EXPECT_EQ(dataset.tokens(), kDocuments * kLength);
  expect_error<DataError>([&] { dataset.check_index(); }, {"x.idx: sequence 9999999 begins at byte"});
}

}  // namespace
}  // namespace ropewalk
