// Input that is compressed by gzip and zstd.
#include <sys/stat.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "kernels/random.h"
#include "tests/support/compressed.h"
#include "tests/support/expect_error.h"
#include "tests/support/temporary_directory.h"
#include "tests/trainer/data/collected.h"

namespace ropewalk {
namespace {

using Texts = std::vector<std::string>;

struct Kind {
  std::string extension, name;
  std::function<std::string(std::string_view)> compress;
};
const std::vector<Kind> kKinds = {{".gz", "gzip", gzipped},
                                  {".zst", "zstd", [](std::string_view bytes) { return zstandard(bytes); }}};

// Lines that do not compress well, so that a few blocks of the compressed file are needed.
std::string some_lines(size_t count) {
  const RandomStream random(3, "lines");
  std::string lines;
  for (uint64_t i = 0; i < count; ++i)
    lines += fmt::format("{{\"text\":\"{:x}{:x}\"}}\n", random.bits(i)[0], random.bits(i)[1]);
  return lines;
}

TEST(CompressedInput, GivesTheDocumentsOfItsContents) {
  const TemporaryDirectory folder;
  const std::string lines = some_lines(40'000), first = lines.substr(0, 300'001), rest = lines.substr(300'001);
  write_file(folder / "a.jsonl", lines);
  write_file(folder / "a.txt", lines);
  const Texts documents = collect(folder / "a.jsonl").documents;
  ASSERT_EQ(documents.size(), 40'000u);
  for (const auto& [extension, _, compress] : kKinds) {
    // One member; several, of which some are empty.
    for (const std::string& bytes :
         {compress(lines), compress("") + compress(first) + compress("") + compress(rest) + compress("")}) {
      write_file(folder / ("a.jsonl" + extension), bytes);
      write_file(folder / ("a.txt" + extension), bytes);
      for (const size_t block : {5'000, 1 << 20}) {
        DocumentOptions options;
        options.block_bytes = block;
        const Collected got = collect(folder / ("a.jsonl" + extension), options);
        EXPECT_EQ(got.documents, documents) << extension << " " << block;
        EXPECT_EQ(got.bytes, static_cast<int64_t>(bytes.size())) << "progress counts bytes of the file";
        EXPECT_EQ(collect(folder / ("a.txt" + extension), options).documents, Texts{lines});
      }
    }
  }
}

TEST(CompressedInput, IsRecognizedByItsContents) {
  const TemporaryDirectory folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  for (const auto& [extension, name, compress] : kKinds) {
    for (const std::string file : {"a", "a.txt", "a.gz", "a.zst", "a.txt.GZ"}) {
      write_file(folder / file, compress("contents"));
      EXPECT_EQ(collect(folder / file).documents, Texts{"contents"}) << file;
    }
    std::jthread writer([&] { write_file(folder / "pipe", compress("piped")); });
    EXPECT_EQ(collect(folder / "pipe").documents, Texts{"piped"});
  }
  write_file(folder / "b.jsonl.gz", "{\"text\":\"plain\"}\n");
  EXPECT_EQ(collect(folder / "b.jsonl.gz").documents, Texts{"plain"});
}

TEST(CompressedInput, ContentsThatAreNoTextAreNamed) {
  const TemporaryDirectory folder;
  for (const auto& [extension, name, compress] : kKinds) {
    write_file(folder / "a", compress(compress("text")));
    expect_error<DataError>([&] { collect(folder / "a"); }, {"a is compressed again, by " + name, "pipe it in"});
    write_file(folder / "a", compress("fine\nbad \xff\n"));
    expect_error<DataError>([&] { collect(folder / "a"); }, {"a:2: invalid UTF-8"});
  }
}

// Cut at each byte, only a file that ends with a member is accepted; its contents are those of its members.
TEST(CompressedInput, CutAnywhereItIsRefused) {
  const TemporaryDirectory folder;
  for (const auto& [extension, name, compress] : kKinds) {
    const std::string first = compress("first member"), both = first + compress(", second member");
    for (size_t size = 4; size < both.size(); ++size) {
      write_file(folder / "a", both.substr(0, size));
      if (size == first.size()) {
        EXPECT_EQ(collect(folder / "a").documents, Texts{"first member"});
      } else {
        expect_error<DataError>([&] { collect(folder / "a"); },
                                {"a, compressed by " + name, fmt::format("near byte {}", size), "it was cut"});
      }
    }
  }
}

// Each bit flipped: an error that names the file, or the same contents (bits of the header that mean nothing).
TEST(CompressedInput, WithAnyBitFlippedItIsRefusedOrTheSame) {
  const TemporaryDirectory folder;
  for (const auto& [extension, name, compress] : kKinds) {
    const std::string sound = compress("some text, some text");
    size_t same = 0;
    for (size_t bit = 0; bit < 8 * sound.size(); ++bit) {
      std::string spoilt = sound;
      spoilt[bit / 8] = static_cast<char>(spoilt[bit / 8] ^ (1 << bit % 8));
      write_file(folder / "a", spoilt);
      try {
        EXPECT_EQ(collect(folder / "a").documents, Texts{"some text, some text"}) << name << " bit " << bit;
        ++same;
      } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find(folder / "a"), std::string::npos) << error.what();
      }
    }
    EXPECT_LE(same, name == "gzip" ? 8 * 6 + 2 : 8u) << name;  // gzip: time, flags and system; the flag "is text"
  }
}

TEST(CompressedInput, WhatFollowsTheLastMemberIsRefused) {
  const TemporaryDirectory folder;
  for (const auto& [extension, name, compress] : kKinds) {
    const std::string sound = compress("text");
    for (const std::string& extra : {std::string("garbage"), std::string(20, '\0')}) {
      write_file(folder / "a", sound + extra);
      expect_error<DataError>([&] { collect(folder / "a"); }, {"a, compressed by " + name, "near byte"});
    }
  }
}

// 512 MiB from half a megabyte or less: the pieces stay small.
TEST(CompressedInput, ABombIsReadInSmallPieces) {
  const TemporaryDirectory folder;
  std::string bomb;
  for (const auto& [extension, name, compress] : kKinds) {
    const std::string member = compress(std::string(64 << 20, 'a'));
    bomb.clear();
    for (int i = 0; i < 8; ++i) bomb += member;
    write_file(folder / "a", bomb);
    ASSERT_LT(bomb.size(), size_t{600'000});
    int64_t bytes = 0, documents = 0;
    size_t longest = 0;
    LeftOut skipped;
    read_documents(folder / "a", {},
                   {.piece =
                        [&](std::string_view piece) {
                          bytes += static_cast<int64_t>(piece.size());
                          longest = std::max(longest, piece.size());
                        },
                    .end = [&] { ++documents; },
                    .progress = [](int64_t) {}},
                   skipped);
    EXPECT_EQ(bytes, int64_t{512} << 20);
    EXPECT_EQ(documents, 1);
    EXPECT_LE(longest, DocumentOptions::kBlockBytes);
  }
}

// A frame's header may ask for a window of terabytes, or tell a wrong size of its contents.
TEST(CompressedInput, AZstdHeaderCannotTakeMoreMemory) {
  const TemporaryDirectory folder;
  const std::string text(100, 'a');
  write_file(folder / "a", zstandard(text, 27));
  EXPECT_EQ(collect(folder / "a").documents, Texts{text});
  write_file(folder / "a", zstandard(text, 28));
  expect_error<DataError>([&] { collect(folder / "a"); }, {"a, compressed by zstd", "128 MiB", "zstdcat --long=31"});

  std::string lying = zstandard(std::string(1'000'000, 'a'));
  const auto size_at = lying.find(std::string("\x40\x42\x0f\x00", 4));  // 1,000,000 in the header
  ASSERT_NE(size_at, std::string::npos);
  lying[size_at] = '\x41';
  write_file(folder / "a", lying);
  expect_error<DataError>([&] { collect(folder / "a"); }, {"a, compressed by zstd"});
}

}  // namespace
}  // namespace ropewalk
