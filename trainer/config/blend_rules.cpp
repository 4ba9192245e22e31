#include "trainer/config/blend_rules.h"

#include <map>

#include "configs/ropewalk.pb.h"
#include "kernels/error.h"
#include "trainer/config/field_names.h"

namespace ropewalk {
namespace {

using Entries = google::protobuf::RepeatedPtrField<proto::BlendEntry>;

std::string entry_field(const std::string& path, int entry, const char* field) {
  return fmt::format("{}.blend.{}.{}", path, entry, field);
}

void check_prefixes(const std::string& path, const Entries& blend, Problems& problems) {
  std::map<std::string, int> seen;
  for (int i = 0; i < blend.size(); ++i) {
    const std::string field = entry_field(path, i, "prefix");
    if (problems.is_unreadable(field) || blend[i].prefix().empty()) continue;
    const auto [earlier, is_new] = seen.try_emplace(blend[i].prefix(), i);
    if (!is_new)
      problems.add({field, excerpt(blend[i].prefix()),
                    fmt::format("is in the blend already, as {}", entry_field(path, earlier->second, "prefix")),
                    "list it once, with the sum of the weights"});
  }
}

void check_shares(const std::string& path, const Entries& blend, Problems& problems) {
  double total = 0;
  for (int i = 0; i < blend.size(); ++i) {
    if (problems.is_unreadable(entry_field(path, i, "weight"))) return;
    total += blend[i].weight();
  }
  for (int i = 0; i < blend.size(); ++i) {
    const double share = blend[i].weight() / total;
    if (share < kSmallestShare)
      problems.add({entry_field(path, i, "weight"), fmt::format("{}", blend[i].weight()),
                    fmt::format("is {:.3g} of the blend's weights; it must be at least {}", share, kSmallestShare),
                    "leave the dataset out, or raise its weight"});
  }
}

// `path`: of the message with the fields prefix and blend.
void check_blend(const std::string& path, const auto& message, Problems& problems) {
  if (message.blend().empty()) return;
  if (!message.prefix().empty())
    problems.add({path + ".prefix", excerpt(message.prefix()), fmt::format("is set, and {}.blend too", path),
                  fmt::format("leave one of them out (--set {0}.prefix= or --set {0}.blend=[] empties it)", path)});
  check_prefixes(path, message.blend(), problems);
  check_shares(path, message.blend(), problems);
}

}  // namespace

void check_blends(const proto::Config& config, Problems& problems) {
  check_blend("data", config.data(), problems);
  for (int i = 0; i < config.training().stages_size(); ++i)
    check_blend(fmt::format("training.stages.{}", i), config.training().stages(i), problems);
}

}  // namespace ropewalk
