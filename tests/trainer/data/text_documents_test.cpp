#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "kernels/random.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/collected.h"
#include "trainer/data/text_blocks.h"

namespace ropewalk {
namespace {

using Texts = std::vector<std::string>;
constexpr size_t kBlock = DocumentOptions::kBlockBytes;

Texts documents_of(const std::string& text, const std::string& separator = "") {
  const TemporaryDirectory folder;
  write_file(folder / "a.txt", text);
  DocumentOptions options;
  options.document_separator = separator;
  const Collected collected = collect(folder / "a.txt", options);
  EXPECT_EQ(collected.bytes, text.empty() ? 0 : static_cast<int64_t>(text.size()));
  return collected.documents;
}

TEST(TextDocuments, AFileIsADocument) {
  EXPECT_EQ(documents_of("one\ntwo\n"), (Texts{"one\ntwo\n"}));
  EXPECT_EQ(documents_of("no newline"), (Texts{"no newline"}));
  EXPECT_EQ(documents_of("\r\n"), (Texts{"\r\n"}));
  EXPECT_EQ(documents_of(std::string("nul\0byte", 8)), (Texts{std::string("nul\0byte", 8)}));
  EXPECT_EQ(documents_of(""), Texts{});
}

TEST(TextDocuments, AByteOrderMarkIsNoText) {
  EXPECT_EQ(documents_of("\xEF\xBB\xBFtext"), (Texts{"text"}));
  EXPECT_EQ(documents_of("a\xEF\xBB\xBF"), (Texts{"a\xEF\xBB\xBF"}));
}

TEST(TextDocuments, SeparatorsAreDroppedAndEmptyDocumentsLeftOut) {
  EXPECT_EQ(documents_of("one\n---\ntwo", "\n---\n"), (Texts{"one", "two"}));
  EXPECT_EQ(documents_of("||one||||two||", "||"), (Texts{"one", "two"}));
  EXPECT_EQ(documents_of("||||", "||"), Texts{});
  EXPECT_EQ(documents_of("one|two|", "|"), (Texts{"one", "two"}));
  EXPECT_EQ(documents_of("aXaXX", "XX"), (Texts{"aXa"}));
  EXPECT_EQ(documents_of("aXXX", "XX"), (Texts{"a", "X"}));
  EXPECT_EQ(documents_of("a\xC3\xA9z\xC3\xA8", "\xC3\xA9"), (Texts{"a", "z\xC3\xA8"}));
}

// A separator at every place around the end of a block, with and without newlines at which a block can end.
TEST(TextDocuments, SeparatorsAcrossBlocks) {
  for (const std::string separator : {"<|end|>", "\n\n\n", "\n--\n", "x"}) {
    for (const bool lines : {false, true}) {
      for (size_t at = kBlock - 9; at <= kBlock + 9; ++at) {
        std::string first(at, 'a');
        if (lines) {
          for (size_t i = 50; i + 20 < first.size(); i += 100) first[i] = '\n';
        }
        const std::string second(1000, 'b');
        ASSERT_EQ(documents_of(first + separator + second, separator), (Texts{first, second}))
            << separator << at << lines;
      }
    }
  }
}

// Multi-byte characters across the end of a block without newlines; pieces stay valid and bounded.
TEST(TextDocuments, CharactersAcrossBlocks) {
  const TemporaryDirectory folder;
  for (const std::string character : {"\xC3\xA9", "\xE6\xBC\xA2", "\xF0\x9F\x99\x82"}) {
    for (size_t shift = 0; shift < 4; ++shift) {
      std::string text(shift, 'a');
      while (text.size() < 3 * kBlock) text += character;
      write_file(folder / "a.txt", text);
      const Collected collected = collect(folder / "a.txt");
      ASSERT_EQ(collected.documents, Texts{text});
      ASSERT_LE(collected.longest_piece, kBlock);
    }
  }
}

TEST(TextDocuments, InvalidUtf8IsNamedWithItsLine) {
  const TemporaryDirectory folder;
  const auto expect_at = [&](const std::string& text, int line, int byte, const std::string& value) {
    write_file(folder / "bad.txt", text);
    expect_error<DataError>([&] { collect(folder / "bad.txt"); },
                            {"bad.txt:" + std::to_string(line) + ":", "byte " + std::to_string(byte), value});
  };
  expect_at("\xFF", 1, 1, "0xff");
  expect_at(
      "one\ntwo\nab\x80"
      "c\n",
      3, 3, "0x80");
  expect_at("one\nab\xE6\xBC", 2, 3, "0xe6");     // cut at the end of the file
  expect_at("one\nab\xE6\xBC\nc", 2, 3, "0xe6");  // cut at the end of the line
  expect_at("\xED\xA0\x80", 1, 1, "0xed");        // a surrogate
  std::string text;
  for (int line = 0; line < 100'000; ++line) text += "a line of some length\n";
  expect_at(text + "\xC0\x80", 100'001, 1, "0xc0");
  expect_at(std::string(kBlock - 1, 'a') + "\xC3", 1, static_cast<int>(kBlock), "0xc3");
  expect_at("one\n" + std::string(3 * kBlock, 'a') + "\xC3", 2, static_cast<int>(3 * kBlock) + 1, "0xc3");
}

TEST(TextDocuments, BadLinesCanBeSkippedAndAreCounted) {
  const TemporaryDirectory folder;
  std::string text = "one\n\xFF two\nthree\n";
  for (int line = 0; line < 20; ++line) text += "\x80\n";
  write_file(folder / "bad.txt", text + "end\xC3");
  DocumentOptions options;
  options.skip_bad_lines = true;
  const Collected collected = collect(folder / "bad.txt", options);
  EXPECT_EQ(collected.documents, (Texts{"one\nthree\n"}));
  EXPECT_EQ(collected.skipped.count, 22);
  ASSERT_EQ(collected.skipped.messages.size(), 10u);
  EXPECT_NE(collected.skipped.messages[0].find("bad.txt:2: invalid UTF-8 at byte 1"), std::string::npos);
  EXPECT_NE(collected.skipped.messages[1].find("bad.txt:4: "), std::string::npos);
}

// A bad line is dropped as a whole and counted once, however many blocks it spans and wherever its bad byte is.
TEST(TextDocuments, ABadLineGoesWholeHoweverLongItIs) {
  const TemporaryDirectory folder;
  DocumentOptions options;
  options.skip_bad_lines = true;
  for (const size_t length : {size_t{10}, kBlock - 4, kBlock, kBlock + 1, 3 * kBlock, 5 * kBlock + 7}) {
    for (const size_t at : {size_t{0}, length / 2, length - 1}) {
      for (const std::string end : {"\n", "\r\n", ""}) {
        std::string line(length, 'b');
        line[at] = '\xFF';
        const std::string after = end.empty() ? "" : "after" + end,
                          before = "before" + end + "\n" + std::string(1, '\0');
        write_file(folder / "a.txt", before + "\n" + line + end + after);
        const Collected collected = collect(folder / "a.txt", options);
        ASSERT_EQ(collected.documents, Texts{before + "\n" + after}) << length << " " << at;
        ASSERT_EQ(collected.skipped.count, 1);
        ASSERT_NE(collected.skipped.messages[0].find("invalid UTF-8 at byte " + std::to_string(at + 1)),
                  std::string::npos);
        ASSERT_LE(collected.longest_piece, kBlock);
      }
    }
  }
}

TEST(TextDocuments, LongGoodLinesStayWhereBadOnesAreSkipped) {
  const TemporaryDirectory folder;
  DocumentOptions options;
  options.skip_bad_lines = true;
  std::string text = "\xEF\xBB\xBF\x80 a bad first line after a byte order mark\n";
  const std::string good = std::string(4 * kBlock, 'g') + "\n\xC3\xA9" + std::string(2 * kBlock, 'h') + "\n";
  write_file(folder / "a.txt", text + good + "cut\xC3");
  const Collected collected = collect(folder / "a.txt", options);
  EXPECT_TRUE(collected.documents == Texts{good});
  EXPECT_EQ(collected.skipped.count, 2);
  EXPECT_LE(collected.longest_piece, kBlock);
}

// Documents end where they end in the file, whichever lines are dropped.
TEST(TextDocuments, SeparatorsCountInDroppedLinesAndAcrossThem) {
  const TemporaryDirectory folder;
  const auto skipping = [&](const std::string& text, const std::string& separator) {
    write_file(folder / "a.txt", text);
    DocumentOptions options;
    options.document_separator = separator;
    options.skip_bad_lines = true;
    return collect(folder / "a.txt", options).documents;
  };
  EXPECT_EQ(skipping("one\nbad\xFF||worse\ntwo\n", "||"), (Texts{"one\n", "two\n"}));
  EXPECT_EQ(skipping("one\n||bad\xFF||\ntwo||\xFF", "||"), (Texts{"one\n"}));
  EXPECT_EQ(skipping("one\n\xFF\n\ntwo\n", "\n\n"), (Texts{"one\n", "two\n"}));          // begins in the dropped line
  EXPECT_EQ(skipping("one\n\n\n\xFF\ntwo\n", "\n\n\n"), (Texts{"one", "two\n"}));        // ends before it
  EXPECT_EQ(skipping("one\nA\xFF\nB\ntwo\n", "\nA\nB\n"), (Texts{"one\nB\ntwo\n"}));     // nowhere in the file
  EXPECT_EQ(skipping("one\nX\n\xFF\nY\ntwo\n", "X\nY"), (Texts{"one\nX\nY\ntwo\n"}));    // likewise
  EXPECT_EQ(skipping("one\nX\nY\xFF\ntwo\n", "X\nY"), (Texts{"one\n", "two\n"}));        // ends in it
  EXPECT_EQ(skipping("one\nX\nY\xFFX\nY\ntwo\n", "X\nY"), (Texts{"one\n", "\ntwo\n"}));  // and begins in it again
  EXPECT_EQ(skipping("one\n||\xFF\n||\xFE\n||two", "||"), (Texts{"one\n", "two"}));      // documents that become empty
  EXPECT_EQ(skipping("\xFF||\xFE", "||"), Texts{});
}

// Compared with the definition: find separators in the whole text, then leave out the bytes of bad lines.
TEST(TextDocuments, DroppedLinesAmongSeparatorsOfEveryKind) {
  const TemporaryDirectory folder;
  const RandomStream random(4, "dropped");
  DocumentOptions options;
  options.skip_bad_lines = true;
  for (uint64_t round = 0; round < 2000; ++round) {
    std::string text;
    for (uint64_t i = 0; i < 30; ++i) text += "ab\n\nab\n|\xFF|"[random.bits(30 * round + i)[0] % 10];
    options.document_separator = Texts{"a", "ab", "\n\n", "\na", "b\n", "\nb\n", "||", "aa\n"}[round % 8];
    std::vector<bool> dropped(text.size());
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
      if (text.substr(begin, end - begin).find('\xFF') != std::string::npos)
        std::fill(dropped.begin() + static_cast<ptrdiff_t>(begin), dropped.begin() + static_cast<ptrdiff_t>(end), true);
      begin = end;
    }
    Texts expected = {""};
    for (size_t i = 0; i < text.size();) {
      if (text.compare(i, options.document_separator.size(), options.document_separator) == 0) {
        if (!expected.back().empty()) expected.emplace_back();
        i += options.document_separator.size();
      } else {
        if (!dropped[i]) expected.back() += text[i];
        ++i;
      }
    }
    if (expected.back().empty()) expected.pop_back();
    write_file(folder / "a.txt", text);
    ASSERT_EQ(collect(folder / "a.txt", options).documents, expected) << ::testing::PrintToString(text);
  }
}

TEST(TextBlocks, AFileThatChangesMeanwhileIsNoText) {
  const TemporaryDirectory folder;
  const std::string path = folder / "a.txt";
  const auto read_with = [&](const std::function<void()>& change) {
    write_file(path, std::string(3 * kBlock, 'a'));
    TextBlocks blocks(path, TextBlocks::End::kCharacter, kBlock);
    size_t bytes = blocks.next().size();
    change();
    for (size_t more = blocks.next().size(); more > 0; more = blocks.next().size()) bytes += more;
    return bytes;
  };
  const std::string told = "a.txt changed while it was read (it had 3145728 bytes, and has ";
  expect_error<DataError>([&] { read_with([&] { std::filesystem::resize_file(path, 3 * kBlock + 5); }); },
                          {told + "3145733)", "start again"});
  expect_error<DataError>([&] { read_with([&] { std::filesystem::resize_file(path, 2 * kBlock); }); },
                          {told + "2097152)"});
  expect_error<DataError>(
      [&] {
        read_with([&] {
          std::fstream(path, std::ios::in | std::ios::out) << "b";
          std::filesystem::last_write_time(path, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
        });
      },
      {"a.txt changed while it was read; start again"});
  // Renaming another file to this name does not change the open file.
  EXPECT_EQ(read_with([&] {
              write_file(folder / "b.txt", "another");
              std::filesystem::rename(folder / "b.txt", path);
            }),
            3 * kBlock);
}

TEST(TextBlocks, ALineThatMustBeWholeIsBounded) {
  const TemporaryDirectory folder;
  write_file(folder / "long", std::string(5 * kBlock, 'a'));
  TextBlocks whole(folder / "long", TextBlocks::End::kLine, kBlock);
  EXPECT_EQ(whole.next().size(), 5 * kBlock);
  EXPECT_TRUE(whole.next().empty());
  TextBlocks bounded(folder / "long", TextBlocks::End::kLine, kBlock, 3 * kBlock);
  expect_error<DataError>([&] { bounded.next(); }, {"long", "a line of more than 3145728 bytes"});
}

TEST(TextDocuments, APipeIsReadToItsEnd) {
  const TemporaryDirectory folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string text(3 * kBlock + 5, 'p');
  std::jthread writer([&] { write_file(pipe, text); });
  EXPECT_EQ(collect(pipe).documents, Texts{text});
}

TEST(TextDocuments, SeparatorsAreCounted) {
  const TemporaryDirectory folder;
  const DocumentSink sink = {.piece = [](std::string_view) {}, .end = [] {}, .progress = [](int64_t) {}};
  LeftOut skipped;
  const auto count = [&](const std::string& text, const std::string& separator) {
    write_file(folder / "a.txt", text);
    DocumentOptions options;
    options.document_separator = separator;
    return read_documents(folder / "a.txt", options, sink, skipped).separators;
  };
  EXPECT_EQ(count("one||two||||", "||"), 3);
  EXPECT_EQ(count("one|two|", "||"), 0);
  EXPECT_EQ(count("one", ""), 0);
}

}  // namespace
}  // namespace ropewalk
