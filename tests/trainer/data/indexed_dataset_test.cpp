#include "trainer/data/indexed_dataset.h"

#include <sys/stat.h>

#include <filesystem>
#include <limits>
#include <numeric>

#include "tests/support/as_nobody.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/index_bytes.h"

namespace ropewalk {
namespace {

// Megatron's own bytes for the documents [1, 2, 3] and [4, 5] in u16.
const std::vector<uint8_t> kGoldenData = {1, 0, 2, 0, 3, 0, 4, 0, 5, 0};
const std::vector<uint8_t> kGoldenIndex = {
    0x4d, 0x4d, 0x49, 0x44, 0x49, 0x44, 0x58, 0, 0,                       // magic
    1,    0,    0,    0,    0,    0,    0,    0, 8,                       // version, type
    2,    0,    0,    0,    0,    0,    0,    0, 3, 0, 0, 0, 0, 0, 0, 0,  // sequences, document entries
    3,    0,    0,    0,    2,    0,    0,    0,                          // lengths
    0,    0,    0,    0,    0,    0,    0,    0, 6, 0, 0, 0, 0, 0, 0, 0,  // offsets
    0,    0,    0,    0,    0,    0,    0,    0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0};

std::vector<int32_t> all_tokens(const IndexedDataset& dataset) {
  std::vector<int32_t> tokens(static_cast<size_t>(dataset.tokens()));
  dataset.read(0, tokens);
  return tokens;
}

TEST(IndexedDataset, ReadsMegatronsBytes) {
  const TemporaryDirectory folder;
  write_file(folder / "golden.bin", bytes_of(kGoldenData));
  write_file(folder / "golden.idx", bytes_of(kGoldenIndex));
  const IndexedDataset dataset(folder / "golden", 6);
  EXPECT_EQ(dataset.tokens(), 5);
  EXPECT_EQ(dataset.sequences(), 2);
  EXPECT_EQ(dataset.documents(), 2);
  EXPECT_EQ(dataset.token_type(), indexed::TokenType::kU16);
  EXPECT_EQ(all_tokens(dataset), (std::vector<int32_t>{1, 2, 3, 4, 5}));
  EXPECT_EQ(dataset.document_begin(0), 0);
  EXPECT_EQ(dataset.document_begin(1), 3);
  EXPECT_EQ(dataset.document_begin(2), 5);
}

// One sequence per document; token values of type T.
template <typename T>
void write_dataset(const std::string& prefix, uint8_t type, const std::vector<T>& tokens) {
  IndexBytes index;
  index.type = type;
  index.lengths = {static_cast<int32_t>(tokens.size())};
  index.offsets = {0};
  index.documents = {0, 1};
  write_file(prefix + ".bin", bytes_of(tokens));
  write_file(prefix + ".idx", index.text());
}

template <typename T>
void expect_type_is_read(uint8_t code) {
  const TemporaryDirectory folder;
  const auto largest = static_cast<int64_t>(std::numeric_limits<T>::max());
  const int64_t top = std::min<int64_t>(largest, std::numeric_limits<int32_t>::max());
  const int64_t vocabulary = top + 1;
  const std::vector<T> good = {0, 1, static_cast<T>(top), 17, static_cast<T>(top - 1)};
  write_dataset(folder / "good", code, good);
  EXPECT_EQ(all_tokens(IndexedDataset(folder / "good", vocabulary)), std::vector<int32_t>(good.begin(), good.end()));

  // One token too large for a vocabulary of 100, at token 2.
  const std::vector<T> large = {99, 0, 100, 3, 120};
  write_dataset(folder / "large", code, large);
  const IndexedDataset dataset(folder / "large", 100);
  std::vector<int32_t> tokens(5);
  expect_error<DataError>(
      [&] { dataset.read(0, tokens); },
      {"large.bin", "token 2 (byte " + std::to_string(2 * sizeof(T)) + ", in document 0) is 100", "[0, 100)"});
  expect_error<DataError>([&] { dataset.read(2, std::span(tokens).first(1)); }, {"token 2"});
  expect_error<DataError>([&] { dataset.check(); }, {"token 2 ", "is 100"});
  dataset.read(0, std::span(tokens).first(2));  // the tokens before it can be read
  dataset.read(3, std::span(tokens).first(1));
  EXPECT_EQ(tokens[0], 3);

  if constexpr (std::is_signed_v<T>) {
    const std::vector<T> negative = {0, std::numeric_limits<T>::min(), -1};
    write_dataset(folder / "negative", code, negative);
    const IndexedDataset spoilt(folder / "negative", vocabulary);
    expect_error<DataError>([&] { spoilt.read(0, std::span(tokens).first(3)); },
                            {"negative.bin", "token 1", "is " + std::to_string(std::numeric_limits<T>::min())});
    expect_error<DataError>([&] { spoilt.read(2, std::span(tokens).first(1)); }, {"token 2", "is -1"});
    expect_error<DataError>([&] { spoilt.check(); }, {"token 1 ", "): prepare the data with this model's"});
  }
}

TEST(IndexedDataset, TypeU8) { expect_type_is_read<uint8_t>(1); }
TEST(IndexedDataset, TypeI8) { expect_type_is_read<int8_t>(2); }
TEST(IndexedDataset, TypeI16) { expect_type_is_read<int16_t>(3); }
TEST(IndexedDataset, TypeI32) { expect_type_is_read<int32_t>(4); }
TEST(IndexedDataset, TypeI64) { expect_type_is_read<int64_t>(5); }
TEST(IndexedDataset, TypeU16) { expect_type_is_read<uint16_t>(8); }

// Megatron's codes for floating types: whole numbers are tokens.
template <typename T>
void expect_floating_type_is_read(uint8_t code) {
  const TemporaryDirectory folder;
  const std::vector<T> good = {0, 1, 99, 17, T{-0.0}};
  write_dataset(folder / "good", code, good);
  EXPECT_EQ(all_tokens(IndexedDataset(folder / "good", 100)), std::vector<int32_t>(good.begin(), good.end()));
  using Limits = std::numeric_limits<T>;
  for (const auto& [bad, said] : {std::pair<T, std::string>{T{0.5}, "is 0.5; tokens must be whole numbers in [0, 100)"},
                                  {T{100}, "is 100; tokens must be whole numbers in [0, 100): raise model.vocabulary"},
                                  {T{-1}, "is -1; "},
                                  {Limits::quiet_NaN(), "is nan; "},
                                  {Limits::infinity(), "is inf; "},
                                  {Limits::denorm_min(), "; tokens must be whole numbers"}}) {
    write_dataset<T>(folder / "bad", code, {3, 99, bad, 4});
    std::vector<int32_t> tokens(4);
    const IndexedDataset dataset(folder / "bad", 100);
    const std::string place = "token 2 (byte " + std::to_string(2 * sizeof(T)) + ", in document 0) ";
    expect_error<DataError>([&] { dataset.read(0, tokens); }, {"bad.bin: " + place, said});
    expect_error<DataError>([&] { dataset.check(); }, {place, said});
  }
}

TEST(IndexedDataset, TypeF32) { expect_floating_type_is_read<float>(7); }
TEST(IndexedDataset, TypeF64) { expect_floating_type_is_read<double>(6); }

TEST(IndexedDataset, AnI64TokenDoesNotWrapIntoTheVocabulary) {
  const TemporaryDirectory folder;
  write_dataset<int64_t>(folder / "wrap", 5, {3, (int64_t{1} << 32) + 3});
  std::vector<int32_t> tokens(2);
  expect_error<DataError>([&] { IndexedDataset(folder / "wrap", 100).read(0, tokens); }, {"token 1", "is 4294967299"});
}

// A bad token is found, with its document, wherever it is in the blocks that are read.
TEST(IndexedDataset, ACheckOfAllTokensFindsEachBadOne) {
  const TemporaryDirectory folder;
  constexpr int64_t kTokens = 5'000'000;  // more than two blocks
  std::vector<uint16_t> tokens(kTokens, 256);
  IndexBytes index;
  index.lengths = {1'000'000, 3'999'999, 1};
  index.offsets = {0, 2'000'000, 9'999'998};
  index.documents = {0, 1, 2, 3};
  write_file(folder / "big.idx", index.text());
  write_file(folder / "big.bin", bytes_of(tokens));
  std::vector<int64_t> told;
  IndexedDataset(folder / "big", 257).check([&](int64_t done) { told.push_back(done); });
  EXPECT_EQ(told, (std::vector<int64_t>{2'097'152, 4'194'304, kTokens}));

  const std::pair<size_t, int> cases[] = {{0, 0},         {999'999, 0},   {1'000'000, 1}, {2'097'151, 1},
                                          {2'097'152, 1}, {4'194'304, 1}, {4'999'998, 1}, {4'999'999, 2}};
  for (const auto& [at, document] : cases) {
    tokens[at] = 257;
    write_file(folder / "big.bin", bytes_of(tokens));
    expect_error<DataError>([&] { IndexedDataset(folder / "big", 257).check(); },
                            {fmt::format("token {} (byte {}, in document {}) is 257", at, 2 * at, document)});
    tokens[at] = 256;
  }
}

// Documents of several sequences, of none, and of empty sequences: a document begins where its first token does.
TEST(IndexedDataset, DocumentsOfAnyNumberOfSequences) {
  const TemporaryDirectory folder;
  IndexBytes index;
  index.lengths = {2, 0, 3, 1, 0};
  index.offsets = {0, 4, 4, 10, 12};
  index.documents = {0, 0, 3, 3, 4, 5, 5};  // none; sequences 0 to 2; none; 3; the empty 4; none
  write_file(folder / "d.bin", bytes_of<uint16_t>({10, 11, 12, 13, 14, 15}));
  write_file(folder / "d.idx", index.text());
  const IndexedDataset dataset(folder / "d", 100);
  EXPECT_EQ(dataset.tokens(), 6);
  EXPECT_EQ(dataset.documents(), 6);
  for (int64_t token = 0; token < 5; ++token) EXPECT_EQ(dataset.document_at(token), 1) << token;
  EXPECT_EQ(dataset.document_at(5), 3);
  EXPECT_EQ(dataset.document_begin(1), 0);
  EXPECT_EQ(dataset.document_begin(2), 5);
  EXPECT_EQ(dataset.document_begin(4), 6);
  EXPECT_EQ(dataset.document_begin(6), 6);
}

TEST(IndexedDataset, ADatasetWithoutSequencesOpens) {
  const TemporaryDirectory folder;
  IndexBytes index;
  index.documents = {0};
  write_file(folder / "none.bin", "");
  write_file(folder / "none.idx", index.text());
  const IndexedDataset dataset(folder / "none", 10);
  EXPECT_EQ(dataset.tokens(), 0);
  EXPECT_EQ(dataset.documents(), 0);
  EXPECT_EQ(dataset.document_begin(0), 0);
}

TEST(IndexedDataset, AFileCutWhileInUseIsAnErrorAndNotGarbage) {
  const TemporaryDirectory folder;
  write_dataset<uint16_t>(folder / "cut", 8, {1, 2, 3, 4});
  const IndexedDataset dataset(folder / "cut", 10);
  std::filesystem::resize_file(folder / "cut.bin", 4);
  std::vector<int32_t> tokens(4);
  expect_error<DataError>([&] { dataset.read(0, tokens); }, {"cut.bin", "ends at byte 4", "byte 8"});
}

// Opening a pipe would wait for its writer.
TEST(IndexedDataset, WhatIsNoRegularFileIsRefused) {
  for (const char* extension : {".bin", ".idx"}) {
    const TemporaryDirectory folder;
    write_file(folder / "x\n.bin", bytes_of(kGoldenData));
    write_file(folder / "x\n.idx", bytes_of(kGoldenIndex));
    std::filesystem::remove(folder / (std::string("x\n") + extension));
    ASSERT_EQ(::mkfifo((folder / (std::string("x\n") + extension)).c_str(), 0600), 0);
    expect_error<DataError>([&] { IndexedDataset(folder / "x\n", 6); },
                            {std::string("x\\x0a") + extension + " is no regular file"});
  }
}

TEST(IndexedDataset, MissingAndForbiddenFilesAreNamed) {
  const TemporaryDirectory folder;
  expect_error<DataError>(
      [&] { IndexedDataset(folder / "absent", 10); },
      {"absent.idx: No such file", "`ropewalk prepare --input FILE... --output " + (folder / "absent").string() + "`",
       "data.prefix"});
  write_dataset<uint16_t>(folder / "x", 8, {1, 2});
  ::remove((folder / "x.bin").c_str());
  expect_error<DataError>([&] { IndexedDataset(folder / "x", 10); }, {"x.bin: No such file", "ropewalk prepare"});
  for (const char* name : {"x.bin", "x.idx"})
    expect_error<DataError>([&] { IndexedDataset(folder / name, 10); },
                            {"without the extension of the two files: set it to " + (folder / "x").string()});
  ASSERT_EQ(::mkdir((folder / "x.bin").c_str(), 0777), 0);
  expect_error<DataError>([&] { IndexedDataset(folder / "x", 10); }, {"x.bin", "folder"});

  write_dataset<uint16_t>(folder / "secret", 8, {1, 2});
  ASSERT_EQ(::chmod((folder / "secret.bin").c_str(), 0), 0);
  const AsNobody nobody;
  expect_error<DataError>([&] { IndexedDataset(folder / "secret", 10); },
                          {"secret.bin", "Permission denied", "permission"});
}

}  // namespace
}  // namespace ropewalk
