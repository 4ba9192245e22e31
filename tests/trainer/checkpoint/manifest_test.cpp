// A manifest is read as it was written; a damaged or hostile one is refused.
#include "trainer/checkpoint/manifest.h"

#include <gtest/gtest.h>

#include "trainer/files/crc32c.h"

namespace ropewalk {
namespace {

Manifest some_manifest() {
  Manifest manifest;
  manifest.program = "ropewalk 0.1.0";
  manifest.progress = {1000, 8000, 4096000, 900, 500};
  manifest.mesh = {1, 2, 1};
  manifest.run.config_text = "model {\n  layers: 2\n}\n\"quotes\"\t\xc3\xa9";
  manifest.run.data = {{"data/\"mine\"", int64_t{5} << 40, int64_t{7} << 40, 0xffffffff, 1, 9, 2}};
  manifest.files = {{"rank-00000.safetensors", 1000, 0x12345678}, {"rank-00001.safetensors", 0, 0xffffffff}};
  manifest.tensors = {
      {"model.w", DType::kF32, {4, 6}, {{0, "model.w[0:3,0:6]", {0, 3, 0, 6}, 1}, {1, "b", {3, 4, 0, 6}, 2}}},
      {"model.norm", DType::kF64, {6}, {{0, "model.norm", {0, 1, 0, 6}, 3}}}};
  return manifest;
}

std::string with_checksum(const std::string& body) { return body + fmt::format("# crc32c: {:08x}\n", crc32c(body)); }
std::string body_of(const Manifest& manifest) {
  const std::string text = manifest_text(manifest);
  return text.substr(0, text.rfind("# crc32c: "));
}

void expect_refused(const std::string& text, const std::string& because) {
  try {
    parse_manifest(text);
    FAIL() << "taken, though " << because << ":\n" << text;
  } catch (const CheckpointError& error) {
    EXPECT_NE(std::string(error.what()).find(because), std::string::npos) << error.what();
  }
}

TEST(Manifest, IsReadAsItWasWritten) {
  const Manifest before = some_manifest();
  const Manifest after = parse_manifest(manifest_text(before));
  EXPECT_EQ(after.version, kManifestVersion);
  EXPECT_EQ(after.program, before.program);
  EXPECT_EQ(after.progress, before.progress);
  EXPECT_EQ(after.mesh, before.mesh);
  EXPECT_EQ(after.run.config_text, before.run.config_text);
  EXPECT_EQ(after.run.data, before.run.data);
  ASSERT_EQ(after.files.size(), 2u);
  EXPECT_EQ(after.files[1].name, "rank-00001.safetensors");
  EXPECT_EQ(after.files[0].bytes, 1000);
  EXPECT_EQ(after.files[1].header_crc32c, 0xffffffffu);
  ASSERT_EQ(after.tensors.size(), 2u);
  EXPECT_EQ(after.tensors[0].shape, (Shape{4, 6}));
  EXPECT_EQ(after.tensors[1].shape, (Shape{6}));
  EXPECT_EQ(after.tensors[1].dtype, DType::kF64);
  ASSERT_EQ(after.tensors[0].pieces.size(), 2u);
  EXPECT_EQ(after.tensors[0].pieces[1].file, 1);
  EXPECT_EQ(after.tensors[0].pieces[0].name, "model.w[0:3,0:6]");
  EXPECT_EQ(after.tensors[0].pieces[1].box, (Box{3, 4, 0, 6}));
  EXPECT_EQ(after.tensors[0].pieces[1].crc32c, 2u);
  EXPECT_EQ(manifest_text(after), manifest_text(before));
  check_covered(after);
}

// Checkpoints from versions without stages: all their samples belong to the only order.
TEST(Manifest, WithoutAnOrderCountsAllSamples) {
  std::string body = body_of(some_manifest());
  for (const std::string field : {"order_begin: 900", "order_samples: 500"}) {
    ASSERT_NE(body.find(field), std::string::npos) << body;
    body.erase(body.find(field), field.size());
  }
  EXPECT_EQ(parse_manifest(with_checksum(body)).progress, (TrainingProgress{1000, 8000, 4096000, 0, 8000}));
}

TEST(Manifest, BeginsWithItsVersionAndEndsWithItsChecksum) {
  const std::string text = manifest_text(some_manifest());
  EXPECT_TRUE(text.starts_with("format_version: 1\n"));
  EXPECT_EQ(text, with_checksum(body_of(some_manifest())));
}

TEST(Manifest, IsRefusedWhenAnyByteDiffers) {
  const std::string text = manifest_text(some_manifest());
  for (size_t at = 0; at < text.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string flipped = text;
      flipped[at] = static_cast<char>(flipped[at] ^ (1 << bit));
      ASSERT_THROW(parse_manifest(flipped), CheckpointError) << at << " " << bit;
    }
    ASSERT_THROW(parse_manifest(text.substr(0, at)), CheckpointError) << at;
  }
  expect_refused(text + "\n", "checksum");
  expect_refused("", "too few");
}

TEST(Manifest, OfAnotherVersionOnlyTheVersionIsRead) {
  EXPECT_EQ(parse_manifest(with_checksum("format_version: 2\nwhatever comes then {{{\n")).version, 2);
  for (const char* body :
       {"", "\n", "format_version: \n", "format_version: x\n", "format_version: 0\n", "format_version: -1\n",
        "format_version: 1", "format_version: 99999999999\n", " format_version: 1\n", "program: \"a\"\n"}) {
    EXPECT_THROW(parse_manifest(with_checksum(body)), CheckpointError) << body;
  }
}

// The checksum does not protect against intent, so the contents are checked, too.
TEST(Manifest, IsRefusedForItsForm) {
  const std::string body = body_of(some_manifest());
  expect_refused(with_checksum(body + "nonsense: 1\n"), "nonsense");
  expect_refused(with_checksum(body + "format_version: 1\n"), "format_version");
  expect_refused(with_checksum(body + "}\n"), "line");
  expect_refused(with_checksum(body + std::string("\0", 1)), "line");
  std::string deep = body;
  for (int i = 0; i < 100'000; ++i) deep += "tensor { piece { ";
  expect_refused(with_checksum(deep), "line");
  std::string unknown = body;
  for (int i = 0; i < 100'000; ++i) unknown += "x { ";
  expect_refused(with_checksum(unknown), "line");
}

TEST(Manifest, IsRefusedForPathsOutOfItsDirectory) {
  for (const std::string& name :
       {std::string(), std::string("."), std::string(".."), std::string("../rank-00000.safetensors"),
        std::string("/etc/passwd"), std::string("a/b"), std::string("a\\b"), std::string(".hidden"),
        std::string("a\0b", 3), std::string(256, 'a')}) {
    Manifest manifest = some_manifest();
    manifest.files[0].name = name;
    expect_refused(manifest_text(manifest), "no plain file name");
  }
}

TEST(Manifest, IsRefusedForItsValues) {
  const auto refused = [](const std::function<void(Manifest&)>& change, const std::string& because) {
    Manifest manifest = some_manifest();
    change(manifest);
    expect_refused(manifest_text(manifest), because);
  };
  refused([](Manifest& m) { m.files[1].name = m.files[0].name; }, "comes twice");
  refused([](Manifest& m) { m.files[1].bytes = -1; }, "lacks bytes");
  refused([](Manifest& m) { m.tensors[1].name = m.tensors[0].name; }, "\"model.w\" comes twice");
  refused([](Manifest& m) { m.tensors[1].name = ""; }, "without a name");
  refused([](Manifest& m) { m.tensors[0].dtype = DType::kI32; }, "I32");
  refused([](Manifest& m) { m.tensors[0].shape = {1, 4, 6}; }, "3 axes");
  refused([](Manifest& m) { m.tensors[0].shape = {int64_t{1} << 40, int64_t{1} << 40}; }, "impossible");
  refused([](Manifest& m) { m.tensors[0].pieces[0].file = 2; }, "in file 2 of 2");
  refused([](Manifest& m) { m.tensors[0].pieces[0].file = -1; }, "in file -1 of 2");
  refused([](Manifest& m) { m.tensors[0].pieces[0].box.row_end = 5; }, "rows 0..5");
  refused([](Manifest& m) { m.tensors[0].pieces[0].box.row_begin = -1; }, "rows -1..3");
  refused([](Manifest& m) { m.tensors[0].pieces[0].box = {3, 0, 0, 6}; }, "rows 3..0");
  refused([](Manifest& m) { m.tensors[1].pieces[0].box = {0, 2, 0, 6}; }, "rows 0..2");
  refused([](Manifest& m) { m.progress.step = -1; }, "negative");
  refused([](Manifest& m) { m.progress.order_begin = -1; }, "negative");
  refused([](Manifest& m) { m.progress.order_samples = -1; }, "negative");
  refused([](Manifest& m) { m.progress.order_samples = m.progress.consumed_samples + 1; }, "contradict");
  refused([](Manifest& m) { m.progress.order_begin = m.progress.step + 1; }, "contradict");
  refused([](Manifest& m) { m.progress.consumed_samples = std::numeric_limits<int64_t>::max(); }, "contradict");
  refused([](Manifest& m) { m.mesh.tensor_parallel = 0; }, "mesh");
  refused([](Manifest& m) { m.source_files = {{"a", kLargestSourceFile + 1, 0}}; }, "at most");
  refused([](Manifest& m) { m.run.tokenizer = {{"t", "abc", 10}, 10}; }, "the tokenizer");
  refused([](Manifest& m) { m.run.tokenizer = {{"t", "abc", 10}, -1}; }, "the tokenizer");
  refused([](Manifest& m) { m.run.tokenizer = {{"t", "abc", 0}, {}}; }, "the tokenizer");
  refused([](Manifest& m) { m.run.tokenizer = {{"", "abc", 10}, {}}; }, "the tokenizer");
  refused([](Manifest& m) { m.source_files = {{"../a", 1, 0}}; }, "no name of a source file");
  refused([](Manifest& m) { m.source_files = {{"a", 1, 0}, {"a", 1, 0}}; }, "comes twice");
  std::string body = body_of(some_manifest());
  body.replace(body.find("shape: [4, 6]"), 13, "shape: [-4, 6]");
  expect_refused(with_checksum(body), "impossible");
  for (const char* field :
       {"crc32c: 1\n", "rows: [0, 3]", "columns: [0, 6]", "file: 0\n", "step: 1000", "bytes: 1000", "dtype: \"F32\""}) {
    body = body_of(some_manifest());
    ASSERT_NE(body.find(field), std::string::npos) << body;
    body.replace(body.find(field), std::string(field).size(), "");
    EXPECT_THROW(parse_manifest(with_checksum(body)), CheckpointError) << field;
  }
}

TEST(Manifest, HolesAndOverlapsAreNamed) {
  const auto defect = [](const std::function<void(Manifest&)>& change) {
    Manifest manifest = some_manifest();
    change(manifest);
    try {
      check_covered(manifest);
    } catch (const CheckpointError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(defect([](Manifest&) {}), "");
  EXPECT_EQ(defect([](Manifest& m) { m.tensors[0].pieces[1].box.column_begin = 2; }),
            "rows 3..4, columns 0..2 of tensor \"model.w\" are in no file");
  EXPECT_EQ(defect([](Manifest& m) { m.tensors[0].pieces[1].box.row_begin = 2; }),
            "rows 2..3, columns 0..6 of tensor \"model.w\" are saved more than once");
  EXPECT_EQ(defect([](Manifest& m) { m.tensors[1].pieces.clear(); }),
            "rows 0..1, columns 0..6 of tensor \"model.norm\" are in no file");
}

TEST(Manifest, PartsAreMerged) {
  const Manifest whole = some_manifest();
  Manifest merged = whole;
  merged.files.clear();
  merged.tensors.clear();
  Manifest first = merged, second = merged;
  first.files = {whole.files[0]};
  first.tensors = whole.tensors;
  first.tensors[0].pieces.pop_back();
  second.files = {whole.files[1]};
  second.tensors = {whole.tensors[0]};
  second.tensors[0].pieces.erase(second.tensors[0].pieces.begin());
  second.tensors[0].pieces[0].file = 0;
  merge_manifest(merged, first);
  merge_manifest(merged, second);
  EXPECT_EQ(manifest_text(merged), manifest_text(whole));
  second.tensors[0].shape = {4, 7};
  EXPECT_THROW(merge_manifest(merged, second), CheckpointError);
}

}  // namespace
}  // namespace ropewalk
