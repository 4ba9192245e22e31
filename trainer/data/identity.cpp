#include "trainer/data/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

#include "trainer/data/targets.h"
#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

constexpr int64_t kBlocks = 256, kBlockBytes = 64 << 10;

// The file's size, and the checksum of all its bytes or of blocks spread evenly from its first byte to its last.
std::pair<int64_t, uint32_t> sample_of(const std::string& path) {
  const InputFile file(real_file_system(FileOwner::kData), path);
  const int64_t size = file.size(), blocks = std::min(kBlocks, (size + kBlockBytes - 1) / kBlockBytes);
  // From the beginning of one block to the next; the last block ends with the file.
  const int64_t stride = blocks < kBlocks ? kBlockBytes : (size - kBlockBytes) / (kBlocks - 1);
  std::vector<char> bytes(kBlockBytes);
  Crc32c crc;
  for (int64_t i = 0; i < blocks; ++i) {
    const int64_t begin = i + 1 < kBlocks ? i * stride : size - kBlockBytes;
    const auto count = static_cast<size_t>(std::min(kBlockBytes, size - begin));
    file.read(begin, bytes.data(), count);
    crc.update(bytes.data(), count);
  }
  return {size, crc.value()};
}

const DataIdentity* find(const std::vector<DataIdentity>& identities, const std::string& prefix) {
  const auto found = std::ranges::find(identities, prefix, &DataIdentity::prefix);
  return found == identities.end() ? nullptr : &*found;
}

// "text.bin: 1200 bytes -> 1300 bytes, text.idx: other contents"
std::string differences(const DataIdentity& before, const DataIdentity& now) {
  std::string text;
  const auto compare = [&](const char* extension, int64_t old_bytes, int64_t bytes, bool same) {
    if (same && old_bytes == bytes) return;
    text +=
        fmt::format("{}{}{}: {}", text.empty() ? "" : ", ", now.prefix, extension,
                    old_bytes == bytes ? "other contents"
                                       : fmt::format("{} -> {}", counted(old_bytes, "byte"), counted(bytes, "byte")));
  };
  compare(".bin", before.token_bytes, now.token_bytes, before.token_crc32c == now.token_crc32c);
  compare(".idx", before.index_bytes, now.index_bytes, before.index_crc32c == now.index_crc32c);
  compare(kTargetsExtension, before.target_bytes, now.target_bytes, before.target_crc32c == now.target_crc32c);
  return text;
}

}  // namespace

std::vector<DataIdentity> identities_of(const std::vector<Stage>& stages) {
  std::vector<DataIdentity> identities;
  for (const Stage& stage : stages) {
    if (find(identities, stage.prefix)) continue;
    const auto [index_bytes, index_crc32c] = sample_of(stage.prefix + ".idx");
    const auto [token_bytes, token_crc32c] = sample_of(stage.prefix + ".bin");
    identities.push_back({stage.prefix, index_bytes, token_bytes, index_crc32c, token_crc32c});
    if (const std::string mask = stage.prefix + kTargetsExtension; std::filesystem::exists(mask))
      std::tie(identities.back().target_bytes, identities.back().target_crc32c) = sample_of(mask);
  }
  return identities;
}

std::vector<std::string> data_changes(const std::vector<DataIdentity>& before, const std::vector<DataIdentity>& now,
                                      const std::vector<Stage>& stages, int64_t step) {
  std::vector<std::string> lines;
  for (const DataIdentity& data : now) {
    const DataIdentity* old = find(before, data.prefix);
    if (!old || *old == data) continue;
    const auto stage = std::ranges::find(stages, data.prefix, &Stage::prefix) - stages.begin();  // the first of them
    const bool begun = stage == 0 || stages[static_cast<size_t>(stage)].first_step < step;
    const std::string field = stage == 0 ? "data.prefix" : fmt::format("training.stages.{}.prefix", stage - 1);
    lines.push_back(fmt::format("{}changed since the checkpoint: the data behind {}: {}", begun ? "warning: " : "",
                                field, differences(*old, data)));
  }
  return lines;
}

}  // namespace ropewalk
