// The files that --input names, and the recognition of files by their contents, not by their names.
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "tests/support/as_nobody.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/collected.h"
#include "trainer/data/file_kind.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;
using namespace std::string_literals;
using Texts = std::vector<std::string>;

TEST(InputFiles, FoldersAreListedByPathWithoutHiddenFiles) {
  const TemporaryDirectory folder;
  std::filesystem::create_directories(folder / "b/.hidden");
  std::filesystem::create_directories(folder / "b/c");
  for (const char* name : {"b/2.txt", "b/10.txt", "b/c/1.txt", "b/.secret", "b/.hidden/x.txt", "a.txt"}) {
    write_file(folder / name, "x");
  }
  EXPECT_EQ(list_input_files({folder / "b", folder / "a.txt"}).files,
            (Texts{folder / "b/10.txt", folder / "b/2.txt", folder / "b/c/1.txt", folder / "a.txt"}));
}

TEST(InputFiles, WhatCannotBeReadIsNamed) {
  const TemporaryDirectory folder;
  expect_error<DataError>([&] { list_input_files({folder / "absent"}); }, {"absent", "No such file"});
  std::filesystem::create_directory(folder / "empty");
  expect_error<DataError>([&] { list_input_files({folder / "empty"}); }, {"empty", "without files"});
  expect_error<ConfigurationError>([&] { list_input_files({""}); }, {"the name of an --input is empty"});
  EXPECT_EQ(list_input_files({"-"}).files, (Texts{"/dev/stdin"}));
  write_file(folder / "a.txt.GZ", "\x1f\x8b\x08");
  expect_error<DataError>([&] { collect(folder / "a.txt.GZ"); }, {"a.txt.GZ", "compressed by gzip"});
  write_file(folder / "notes.gz", "plain\n");  // the name does not matter
  EXPECT_EQ(collect(folder / "notes.gz").documents, Texts{"plain\n"});
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

class LinkedInputs : public ::testing::Test {
 protected:
  void make(const std::string& name) {
    fs::create_directories(fs::path(folder_ / name).parent_path());
    write_file(folder_ / name, name);
  }
  void link(const std::string& target, const std::string& name) {
    fs::create_directories(fs::path(folder_ / name).parent_path());
    ASSERT_EQ(::symlink(target.c_str(), (folder_ / name).c_str()), 0);
  }
  // With paths relative to the folder "in".
  Texts list() {
    const InputFiles found = list_input_files({folder_ / "in"});
    left_out_ = found.left_out;
    Texts names;
    for (const std::string& file : found.files) names.push_back(file.substr((folder_ / "in/").string().size()));
    return names;
  }
  void expect_left_out(const Texts& parts) {
    EXPECT_EQ(left_out_.count, std::ssize(parts)) << ::testing::PrintToString(left_out_.messages);
    for (const std::string& part : parts)
      EXPECT_TRUE(std::any_of(left_out_.messages.begin(), left_out_.messages.end(),
                              [&](const std::string& message) { return message.find(part) != message.npos; }))
          << part << " is not in " << ::testing::PrintToString(left_out_.messages);
  }
  TemporaryDirectory folder_;
  LeftOut left_out_;
};

TEST_F(LinkedInputs, AreFollowed) {
  make("in/real/a.txt");
  make("elsewhere/sub/c.txt");
  make("elsewhere/sub/deep/d.txt");
  make("elsewhere/e.txt");
  link("../elsewhere/sub", "in/linked");
  link("../elsewhere/e.txt", "in/b.txt");
  link("linked", "in/.hidden");
  EXPECT_EQ(list(), (Texts{"b.txt", "linked/c.txt", "linked/deep/d.txt", "real/a.txt"}));
  expect_left_out({});
}

TEST_F(LinkedInputs, ThatLeadNowhereAreMissingFiles) {
  make("in/a.txt");
  link("nowhere.txt", "in/sub/gone.txt");
  const Texts said = {"cannot read", "gone.txt: No such file", "it is a link to nowhere.txt: correct or remove it"};
  expect_error<DataError>([&] { list(); }, said);
  expect_error<DataError>([&] { list_input_files({folder_ / "in/sub/gone.txt"}); }, said);
  fs::remove(folder_ / "in/sub/gone.txt");
  link("self", "in/sub/self");
  expect_error<DataError>([&] { list(); }, {"sub/self: Too many levels", "it is a link to self"});
}

TEST_F(LinkedInputs, CyclesEndAndAreTold) {
  make("in/a.txt");
  make("in/sub/b.txt");
  make("elsewhere/c.txt");
  link(".", "in/here");
  link("..", "in/sub/up");
  link("../elsewhere", "in/there");
  link("../in/sub", "elsewhere/back");
  EXPECT_EQ(list(), (Texts{"a.txt", "sub/b.txt", "there/c.txt"}));
  expect_left_out({"in/here is the same as " + (folder_ / "in").string() + ", which is read already", "in/sub/up is ",
                   "in/there/back is "});
  // A link to a folder above the input adds that folder's files, but not the input again.
  link("../../..", "in/sub/outside/all");
  EXPECT_EQ(list().size(), 3u);
  expect_left_out({"in/here", "in/sub/up", "elsewhere/back", "outside/all/in is ", "in/there is "});
}

TEST_F(LinkedInputs, AreReadOnceByTheFirstPath) {
  make("in/m.txt");
  make("elsewhere/x.txt");
  link("m.txt", "in/a.txt");  // files come before links
  link("../elsewhere/x.txt", "in/c.txt");
  link("../elsewhere/x.txt", "in/b.txt");
  link("../elsewhere", "in/z");
  fs::create_hard_link(folder_ / "in/m.txt", folder_ / "in/n.txt");  // a hard link counts as a file of its own
  EXPECT_EQ(list(), (Texts{"b.txt", "m.txt", "n.txt"}));
  expect_left_out({"in/a.txt is the same as " + (folder_ / "in/m.txt").string(),
                   "in/c.txt is the same as " + (folder_ / "in/b.txt").string(), "in/z/x.txt is "});
  EXPECT_EQ(list_input_files({folder_ / "in/m.txt", folder_ / "in/m.txt"}).files.size(),
            2u);  // named twice, read twice
}

TEST_F(LinkedInputs, WhatIsNoRegularFileIsTold) {
  make("in/a.txt");
  ASSERT_EQ(::mkfifo((folder_ / "in/pipe").c_str(), 0600), 0);
  link("/dev/null", "in/null");
  EXPECT_EQ(list(), (Texts{"a.txt"}));
  expect_left_out({"in/pipe is no regular file", "in/null is no regular file"});
}

TEST_F(LinkedInputs, ThatMayNotBeFollowedAreNamed) {
  make("in/a.txt");
  make("closed/b.txt");
  link("../closed/b.txt", "in/b.txt");
  ASSERT_EQ(::chmod((folder_ / "closed").c_str(), 0), 0);
  {
    const AsNobody nobody;
    expect_error<DataError>([&] { list(); }, {"in/b.txt: Permission denied", "a link to ../closed/b.txt"});
  }
  ASSERT_EQ(::chmod((folder_ / "closed").c_str(), 0700), 0);
}

DocumentOptions in_format(InputFormat format) {
  DocumentOptions options;
  options.format = format;
  return options;
}

TEST(InputNames, AreShownOnOneLine) {
  const TemporaryDirectory folder;
  const std::string name = "a\nropewalk: all is well\xFF\x1b[2J\xC2\x9B.txt";
  const std::string shown = R"(a\x0aropewalk: all is well\xff\x1b[2J\xc2\x9b.txt)";
  const auto expect_shown = [&](const auto& body) { expect_error<DataError>(body, {shown}); };
  expect_shown([&] { list_input_files({folder / name}); });
  write_file(folder / name, "\xFF");
  expect_shown([&] { collect(folder / name); });
  expect_shown([&] { collect(folder / name, in_format(InputFormat::kJsonLines)); });
  write_file(folder / name, "\x1f\x8b\x08");
  expect_shown([&] { collect(folder / name); });
  fs::remove(folder / name);
  fs::create_directory(folder / name);
  expect_shown([&] { list_input_files({folder / name}); });
  expect_shown([&] { collect(folder / name); });
  ASSERT_EQ(::symlink("x", (folder / (name + "/y")).c_str()), 0);
  expect_shown([&] { list_input_files({folder / name}); });
  EXPECT_EQ(printable_name("caf\xC3\xA9 \\ \"1\""), "caf\xC3\xA9 \\ \"1\"");
}

std::string in_utf16(const std::string& text, bool little) {
  std::string out;
  for (const char c : text) out += little ? std::string{c, '\0'} : std::string{'\0', c};
  return out;
}

struct Foreign {
  std::string bytes, name, remedy;
};

// First bytes as the formats' own programs write them.
const std::vector<Foreign> kForeign = {
    {"\xfd\x37\x7a\x58\x5a\0\0"s, "compressed by xz", "xzcat FILE"},
    {"\x04\x22\x4d\x18\x64"s, "compressed by lz4", "lz4cat FILE"},
    {"BZh91AY&SY\x1c"s, "compressed by bzip2", "bzcat FILE"},
    {"BZh9\x17\x72\x45\x38\x50\x90"s, "compressed by bzip2", "bzcat FILE"},
    {"PK\3\4\x14\0"s, "a zip archive", "unzip -p FILE"},
    {"PK\5\6\0"s, "an empty zip archive", "another --input"},
    {"7z\xbc\xaf\x27\x1c\0"s, "a 7z archive", "unpack"},
    {"Rar!\x1a\x07\1"s, "a rar archive", "unpack"},
    {"PAR1\x15\0\x15"s, "a Parquet file", "pandas.read_parquet(FILE).to_json"},
    {"ARROW1\0\0\xff\xff\xff\xff"s, "an Arrow file", "to_json"},
    {"\xff\xff\xff\xff\x10\1\0\0"s, "an Arrow stream", "to_json"},
    {"SQLite format 3\0\x10"s, "an SQLite database", "query"},
    {"\x89HDF\r\n\x1a\n"s, "an HDF5 file", "another --input"},
    {"\x93NUMPY\1\0v\0"s, "a NumPy array", "another --input"},
    {"MMIDIDX\0\0\1"s, "the index of a dataset", "data.prefix"},
    {"\x89PNG\r\n\x1a\n"s, "a picture", "another --input"},
    {"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"s, "a PDF document", "pdftotext"},
    {"%PDF-1.4\r1 0 obj"s, "a PDF document", "pdftotext"},
    {"note.txt" + std::string(249, '\0') + "ustar\0"s + std::string(300, '\0'), "a tar archive", "unpack"},
    {"\xff\xfet\0e\0"s, "UTF-16 text", "iconv -f UTF-16 "},
    {"\xfe\xff\0t\0e"s, "UTF-16 text", "iconv -f UTF-16 "},
    {"\xff\xfe\0\0t\0\0\0"s, "UTF-32 text", "iconv -f UTF-32 "},
    {"\0\0\xfe\xff\0\0\0t"s, "UTF-32 text", "iconv -f UTF-32 "},
    {in_utf16("a line of text\r\n", true), "UTF-16 text, it seems", "iconv -f UTF-16LE"},
    {in_utf16("a line of text\r\n", false), "UTF-16 text, it seems", "iconv -f UTF-16BE"},
    {"\x1f\4\x40\4\x38\4\x32\4\x35\4\x42\4\x20\0\x3c\4\x38\4\x40\4"s, "UTF-16 text, it seems", "UTF-16LE"},
    {"a\0\0\0 \0\0\0l\0\0\0i\0\0\0"s, "UTF-32 text, it seems", "iconv -f UTF-32LE"},
    {"\0\0\0a\0\0\0 \0\0\0l\0\0\0i"s, "UTF-32 text, it seems", "iconv -f UTF-32BE"},
};

TEST(FileKinds, AreNamedWhateverTheExtensionSays) {
  const TemporaryDirectory folder;
  for (const Foreign& foreign : kForeign) {
    for (const char* name : {"a.txt", "a.jsonl", "a"}) {
      for (const bool skip : {false, true}) {
        write_file(folder / name, foreign.bytes);
        DocumentOptions options;
        options.skip_bad_lines = skip;
        expect_error<DataError>([&] { collect(folder / name, options); },
                                {std::string(name) + " is " + foreign.name, foreign.remedy});
      }
    }
  }
}

TEST(FileKinds, AreNamedOnAPipeToo) {
  const TemporaryDirectory folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  std::jthread writer([&] { write_file(folder / "pipe", kForeign[0].bytes); });
  expect_error<DataError>([&] { collect(folder / "pipe"); }, {"pipe is compressed by xz"});
}

TEST(FileKinds, TextThatBeginsAlikeIsText) {
  const TemporaryDirectory folder;
  for (const std::string& text : {"PAR1 is a magic word"s,
                                  "PAR1"s,
                                  "PAR1\n"s,
                                  "PK is short for Phil Katz"s,
                                  "PK"s,
                                  "BZh9 1AY&SY"s,
                                  "BZh"s,
                                  "BZh91AY&S"s,
                                  "7z is a program"s,
                                  "Rar! it said"s,
                                  "ARROW1 is a word"s,
                                  "SQLite format 3 is its magic"s,
                                  "MMIDIDX"s,
                                  "%PDF-1.4 is how it begins"s,
                                  "%PDF-\n"s,
                                  "%PDF-x.y\n"s,
                                  "note.txt" + std::string(249, ' ') + "ustar" + std::string(300, ' '),
                                  std::string(600, 'a') + "ustar",
                                  "nul\0byte"s,
                                  "\0\0\0\0\0\0\0\0\0\0\0\0"s,
                                  "a\0b\0c d e f g"s,
                                  "\1\2\3\4\5\6\7\1\2\3\4\5"s,
                                  "t\n\n\t\n\t\t\n\n\n"s,
                                  "a\0b\0"s,
                                  "\xEF\xBB\xBFtext"s,
                                  "\x1f"s,
                                  "\x1f separated"s,
                                  "(\xC2\xB5)"s,
                                  "\xEF\xBF\xBE"s}) {
    write_file(folder / "a.txt", text);
    EXPECT_EQ(collect(folder / "a.txt").documents, Texts{text.starts_with("\xEF\xBB\xBF") ? "text" : text});
  }
}

TEST(FileKinds, BadTextIsNoOtherKind) {
  const TemporaryDirectory folder;
  for (const std::string& text : {"\xff\xff\xff\xff bad\nline\n"s, "\x28\xb5\x2f bad\nline\n"s, "\x89PNG bad\nline\n"s,
                                  "\xff\xff\xff\xff\nline\n"s}) {
    write_file(folder / "a.txt", text);
    expect_error<DataError>([&] { collect(folder / "a.txt"); }, {"a.txt:1: invalid UTF-8"});
    DocumentOptions options;
    options.skip_bad_lines = true;
    EXPECT_EQ(collect(folder / "a.txt", options).documents, Texts{"line\n"});
  }
  for (size_t length = 1; length <= 8; ++length) {  // shorter than a signature
    write_file(folder / "a.txt", std::string(length, '\xff'));
    expect_error<DataError>([&] { collect(folder / "a.txt"); }, {"a.txt"});
  }
}

// Wide text is recognized even if a few characters are of another alphabet, or padding.
TEST(FileKinds, WideTextIsKnownByMostOfIt) {
  std::string text = in_utf16(std::string(2000, 'a'), true);
  for (size_t i = 0; i < 150; ++i) text[2 * 13 * i + 1] = '\x20';
  EXPECT_TRUE(foreign_kind(text));
  for (size_t i = 0; i < 2000; i += 3) text[2 * i + 1] = 'b';
  EXPECT_FALSE(foreign_kind(text));
}

TEST(FileKinds, JsonLinesThatAreReadAsTextAreTold) {
  const TemporaryDirectory folder;
  const DocumentSink sink = {.piece = [](std::string_view) {}, .end = [] {}, .progress = [](int64_t) {}};
  LeftOut skipped;
  const auto told = [&](const std::string& text, InputFormat format) {
    write_file(folder / "a.txt", text);
    return read_documents(folder / "a.txt", in_format(format), sink, skipped).is_json_too;
  };
  EXPECT_TRUE(told("{\"text\":\"one\"}\n{\"text\":\"two\"}\n", InputFormat::kByExtension));
  EXPECT_TRUE(told("{\"text\":\"one\"}", InputFormat::kByExtension));
  EXPECT_FALSE(told("{\"text\":\"one\"}", InputFormat::kText));
  for (const char* text :
       {"", "{}", "{\n  \"text\": \"one\"\n}", "{Braces} in prose", "text\n{\"text\":\"one\"}", "[1]"})
    EXPECT_FALSE(told(text, InputFormat::kByExtension)) << text;
}

}  // namespace
}  // namespace ropewalk
