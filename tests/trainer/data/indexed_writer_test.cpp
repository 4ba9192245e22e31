#include "trainer/data/indexed_writer.h"

#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <numeric>

#include "kernels/random.h"
#include "tests/support/as_nobody.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/index_bytes.h"
#include "trainer/data/indexed_dataset.h"

namespace ropewalk {
namespace {

using Documents = std::vector<std::vector<int32_t>>;

void write(const std::string& prefix, int64_t vocabulary, const Documents& documents,
           int64_t max_sequence_tokens = indexed::kMaxSequenceTokens) {
  IndexedWriter writer(prefix, vocabulary, max_sequence_tokens);
  for (const auto& document : documents) {
    const size_t half = document.size() / 2;
    writer.append(std::span(document).first(half));
    writer.append(std::span(document).subspan(half));
    writer.end_document();
  }
  writer.finish();
}

Documents read(const std::string& prefix, int64_t vocabulary) {
  const IndexedDataset dataset(prefix, vocabulary);
  Documents documents;
  for (int64_t d = 0; d < dataset.documents(); ++d) {
    const int64_t begin = dataset.document_begin(d), end = dataset.document_begin(d + 1);
    documents.emplace_back(static_cast<size_t>(end - begin));
    dataset.read(begin, documents.back());
  }
  return documents;
}

TEST(IndexedWriter, WritesMegatronsBytes) {
  const TemporaryDirectory folder;
  write(folder / "golden", 6, {{1, 2, 3}, {4, 5}});
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"golden.bin", "golden.idx"}));
  EXPECT_EQ(read_file(folder / "golden.bin"), bytes_of<uint16_t>({1, 2, 3, 4, 5}));
  IndexBytes index;
  index.lengths = {3, 2};
  index.offsets = {0, 6};
  index.documents = {0, 1, 2};
  EXPECT_EQ(read_file(folder / "golden.idx"), index.text());
}

TEST(IndexedWriter, TheVocabularyChoosesTheType) {
  const TemporaryDirectory folder;
  const Documents documents = {{0, 65499}, {}, {7}};
  write(folder / "u16", 65500, documents);
  write(folder / "i32", 65501, documents);
  EXPECT_EQ(IndexedDataset(folder / "u16", 65500).token_type(), indexed::TokenType::kU16);
  EXPECT_EQ(IndexedDataset(folder / "i32", 65501).token_type(), indexed::TokenType::kI32);
  EXPECT_EQ(read(folder / "u16", 65500), documents);
  EXPECT_EQ(read(folder / "i32", 65501), documents);
}

// More documents than fit in one of the writer's blocks, and more tokens in a document.
TEST(IndexedWriter, RoundTripOfManyAndOfLongDocuments) {
  const TemporaryDirectory folder;
  const RandomStream random(1, "round trip");
  Documents documents(150'000);
  for (size_t d = 0; d < documents.size(); ++d)
    documents[d].assign(random.bits(d)[0] % 4, static_cast<int32_t>(d % 50'000));
  documents[77].resize(700'001);
  std::iota(documents[77].begin(), documents[77].begin() + 50'000, 0);
  write(folder / "x", 50'000, documents);
  EXPECT_TRUE(read(folder / "x", 50'000) == documents);
}

TEST(IndexedWriter, ALongDocumentBecomesSeveralSequences) {
  for (int64_t limit = 1; limit <= 8; ++limit) {
    const TemporaryDirectory folder;
    const Documents documents = {{1, 2, 3}, {}, {4, 5, 6, 7, 8, 9, 10}, {11}};
    write(folder / "x", 100, documents, limit);
    EXPECT_EQ(read(folder / "x", 100), documents) << limit;
    int64_t sequences = 0;
    for (const auto& d : documents)
      sequences += std::max<int64_t>(1, (static_cast<int64_t>(d.size()) + limit - 1) / limit);
    EXPECT_EQ(IndexedDataset(folder / "x", 100).sequences(), sequences) << limit;
  }
}

TEST(IndexedWriter, NothingIsLeftOfWhatWasNotFinished) {
  const TemporaryDirectory folder;
  write(folder / "x", 10, {{1, 2}});
  const std::string index = read_file(folder / "x.idx"), data = read_file(folder / "x.bin");
  {
    IndexedWriter writer(folder / "x", 10);
    writer.append(std::vector<int32_t>{3});
    writer.end_document();
    EXPECT_EQ(folder.names(), (std::vector<std::string>{"x.bin", "x.bin.tmp", "x.idx", "x.idx.tmp", "x.lock.tmp"}));
  }
  EXPECT_EQ(folder.names(), (std::vector<std::string>{"x.bin", "x.idx"}));
  EXPECT_EQ(read_file(folder / "x.idx"), index);
  EXPECT_EQ(read_file(folder / "x.bin"), data);
  write(folder / "x", 10, {{3}});
  EXPECT_EQ(read(folder / "x", 10), (Documents{{3}}));
}

TEST(IndexedWriter, ATokenBeyondTheVocabularyIsAMistake) {
  const TemporaryDirectory folder;
  IndexedWriter writer(folder / "x", 10);
  EXPECT_THROW(writer.append(std::vector<int32_t>{1, 10}), std::logic_error);
  EXPECT_THROW(writer.append(std::vector<int32_t>{-1, 1}), std::logic_error);
}

TEST(IndexedWriter, FoldersThatCannotBeWrittenToAreNamed) {
  const TemporaryDirectory folder;
  expect_error<DataError>([&] { IndexedWriter(folder / "absent/x", 10); }, {"absent/x.lock.tmp", "No such file"});
  ASSERT_EQ(::chmod(folder.path().c_str(), 0555), 0);
  const AsNobody nobody;
  expect_error<DataError>([&] { IndexedWriter(folder / "x", 10); }, {"x.lock.tmp", "Permission denied"});
}

// A disk that fills up at several sizes: while tokens are written, and while the index is.
TEST(IndexedWriter, DiskThatFillsUp) {
  const TemporaryDirectory folder;
  for (const int kilobytes : {64, 600, 1000, 1100}) {
    const std::string options = "size=" + std::to_string(kilobytes) + "k";
    if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, options.c_str()) != 0) {
      GTEST_SKIP() << "mounting a small tmpfs is not allowed here";
    }
    const Documents documents(20'000, std::vector<int32_t>(20, 3));  // 800 kB of tokens, 400 kB of index
    expect_error<DataError>([&] { write(folder / "x", 10, documents); }, {"x.", "No space left", "free space"});
    EXPECT_TRUE(folder.names().empty()) << kilobytes;
    ASSERT_EQ(::umount2(folder.path().c_str(), MNT_DETACH), 0);
  }
}

}  // namespace
}  // namespace ropewalk
