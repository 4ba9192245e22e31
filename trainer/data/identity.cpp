#include "trainer/data/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <tuple>
#include <utility>

#include "kernels/error.h"
#include "trainer/config/stages.h"
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

struct Use {
  size_t stage;
  std::string field;
};

// The first stage that uses the data, and the field that names it.
Use first_use_of(const std::string& prefix, const std::vector<Stage>& stages) {
  for (size_t stage = 0; stage < stages.size(); ++stage) {
    const std::vector<DataSource> sources = sources_of(stages[stage]);
    const auto source = std::ranges::find(sources, prefix, &DataSource::prefix);
    if (source == sources.end()) continue;
    const std::string group = stage == 0 ? "data" : fmt::format("training.stages.{}", stage - 1);
    if (stages[stage].blend.empty()) return {stage, group + ".prefix"};
    return {stage, fmt::format("{}.blend.{}.prefix", group, source - sources.begin())};
  }
  CHECK(false, "no stage uses {}", prefix);
  return {};
}

}  // namespace

std::vector<DataIdentity> identities_of(const std::vector<Stage>& stages) {
  std::vector<DataIdentity> identities;
  for (const Stage& stage : stages) {
    for (const auto& [prefix, _] : sources_of(stage)) {
      if (find(identities, prefix)) continue;
      const auto [index_bytes, index_crc32c] = sample_of(prefix + ".idx");
      const auto [token_bytes, token_crc32c] = sample_of(prefix + ".bin");
      identities.push_back({prefix, index_bytes, token_bytes, index_crc32c, token_crc32c});
      if (const std::string mask = prefix + kTargetsExtension; std::filesystem::exists(mask))
        std::tie(identities.back().target_bytes, identities.back().target_crc32c) = sample_of(mask);
    }
  }
  return identities;
}

std::vector<std::string> data_changes(const std::vector<DataIdentity>& before, const std::vector<DataIdentity>& now,
                                      const std::vector<Stage>& stages, int64_t step) {
  std::vector<std::string> lines;
  for (const DataIdentity& data : now) {
    const DataIdentity* old = find(before, data.prefix);
    if (!old || *old == data) continue;
    const Use use = first_use_of(data.prefix, stages);
    const bool begun = use.stage == 0 || stages[use.stage].first_step < step;
    lines.push_back(fmt::format("{}changed since the checkpoint: the data behind {}: {}", begun ? "warning: " : "",
                                use.field, differences(*old, data)));
  }
  return lines;
}

}  // namespace ropewalk
