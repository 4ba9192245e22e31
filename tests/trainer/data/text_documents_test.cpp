#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "tests/trainer/data/collected.h"
#include "tests/trainer/data/scratch.h"
#include "trainer/data/line_blocks.h"

namespace ropewalk {
namespace {

using Texts = std::vector<std::string>;
constexpr size_t kBlock = LineBlocks::kBlockBytes;

Texts documents_of(const std::string& text, const std::string& separator = "") {
  const ScratchFolder folder;
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

// A separator anywhere around the end of a block, with and without newlines for the block to end at.
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

// Characters of several bytes across the end of a block that has no newline; pieces stay valid and bounded.
TEST(TextDocuments, CharactersAcrossBlocks) {
  const ScratchFolder folder;
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
  const ScratchFolder folder;
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
  expect_at(std::string("\xFF\xFE"
                        "a\0",
                        4),
            1, 1, "0xff");  // UTF-16
  std::string text;
  for (int line = 0; line < 100'000; ++line) text += "a line of some length\n";
  expect_at(text + "\xC0\x80", 100'001, 1, "0xc0");
  expect_at(std::string(kBlock - 1, 'a') + "\xC3", 1, static_cast<int>(kBlock), "0xc3");
  expect_at("one\n" + std::string(3 * kBlock, 'a') + "\xC3", 2, static_cast<int>(3 * kBlock) + 1, "0xc3");
}

TEST(TextDocuments, BadLinesCanBeSkippedAndAreCounted) {
  const ScratchFolder folder;
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

TEST(LineBlocks, ALineThatMustBeWholeIsBounded) {
  const ScratchFolder folder;
  write_file(folder / "long", std::string(5 * kBlock, 'a'));
  LineBlocks whole(folder / "long", LineBlocks::LongLines::kWhole);
  EXPECT_EQ(whole.next().size(), 5 * kBlock);
  EXPECT_TRUE(whole.next().empty());
  LineBlocks bounded(folder / "long", LineBlocks::LongLines::kWhole, 3 * kBlock);
  expect_error<DataError>([&] { bounded.next(); }, {"long", "a line of more than 3145728 bytes"});
}

TEST(TextDocuments, APipeIsReadToItsEnd) {
  const ScratchFolder folder;
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const std::string text(3 * kBlock + 5, 'p');
  std::jthread writer([&] { write_file(pipe, text); });
  EXPECT_EQ(collect(pipe).documents, Texts{text});
}

TEST(TextDocuments, SeparatorsAreCounted) {
  const ScratchFolder folder;
  const DocumentSink sink = {.piece = [](std::string_view) {}, .end = [] {}, .progress = [](int64_t) {}};
  SkippedLines skipped;
  const auto count = [&](const std::string& text, const std::string& separator) {
    write_file(folder / "a.txt", text);
    DocumentOptions options;
    options.document_separator = separator;
    return read_documents(folder / "a.txt", options, sink, skipped);
  };
  EXPECT_EQ(count("one||two||||", "||"), 3);
  EXPECT_EQ(count("one|two|", "||"), 0);
  EXPECT_EQ(count("one", ""), 0);
}

TEST(InputFiles, FoldersAreListedByPathWithoutHiddenFiles) {
  const ScratchFolder folder;
  std::filesystem::create_directories(folder / "b/.hidden");
  std::filesystem::create_directories(folder / "b/c");
  for (const char* name : {"b/2.txt", "b/10.txt", "b/c/1.txt", "b/.secret", "b/.hidden/x.txt", "a.txt"}) {
    write_file(folder / name, "x");
  }
  EXPECT_EQ(list_input_files({folder / "b", folder / "a.txt"}),
            (Texts{folder / "b/10.txt", folder / "b/2.txt", folder / "b/c/1.txt", folder / "a.txt"}));
}

TEST(InputFiles, WhatCannotBeReadIsNamed) {
  const ScratchFolder folder;
  expect_error<DataError>([&] { list_input_files({folder / "absent"}); }, {"absent", "No such file"});
  std::filesystem::create_directory(folder / "empty");
  expect_error<DataError>([&] { list_input_files({folder / "empty"}); }, {"empty", "without files"});
  expect_error<ConfigurationError>([&] { list_input_files({""}); }, {"the name of an --input is empty"});
  EXPECT_EQ(list_input_files({"-"}), (Texts{"/dev/stdin"}));
  write_file(folder / "a.txt.GZ", "x");
  expect_error<DataError>([&] { collect(folder / "a.txt.GZ"); }, {"a.txt.GZ", "compressed"});
  write_file(folder / "secret.txt", "x");
  ASSERT_EQ(::chmod((folder / "secret.txt").c_str(), 0), 0);
  std::filesystem::create_directories(folder / "mixed/below/closed");
  write_file(folder / "mixed/a.txt", "x");
  ASSERT_EQ(::chmod((folder / "mixed/below/closed").c_str(), 0), 0);
  ASSERT_EQ(::chmod((folder / "empty").c_str(), 0), 0);
  const AsNobody nobody;
  expect_error<DataError>([&] { collect(folder / "secret.txt"); },
                          {"secret.txt", "Permission denied", "give this user"});
  expect_error<DataError>([&] { list_input_files({folder / "empty"}); },
                          {"empty", "Permission denied", "give this user"});
  expect_error<DataError>([&] { list_input_files({folder / "mixed"}); }, {"mixed/below/closed: Permission denied"});
}

}  // namespace
}  // namespace ropewalk
