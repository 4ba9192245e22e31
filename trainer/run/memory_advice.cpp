#include "trainer/run/memory_advice.h"

#include <algorithm>
#include <tuple>

#include "kernels/clock.h"
#include "trainer/config/stages.h"

namespace ropewalk {
namespace {

using Settings = std::vector<std::string>;
using Recompute = TrainingConfig::Recompute;

constexpr double kSeconds = 15;
constexpr size_t kMostSettings = 4;

// Settings of one field; a combination has at most one of them.
using Alternatives = std::vector<std::string>;

std::vector<Alternatives> alternatives_of(const Evaluation& now, Purpose purpose) {
  const Config& config = now.config;
  const Stage& stage = config.training.stages[now.largest];
  std::vector<Alternatives> out;
  const bool training = purpose == Purpose::kTraining;
  if (training) {
    Alternatives recompute;
    if (config.training.recompute == Recompute::kNothing) recompute.push_back("training.recompute=BLOCK_BUT_ATTENTION");
    if (config.training.recompute != Recompute::kBlock) recompute.push_back("training.recompute=BLOCK");
    out.push_back(recompute);
    Alternatives chunks;
    for (const int64_t rows : {config.training.loss_chunk / 2, int64_t{1024}, int64_t{256}})
      if (rows > 0 && rows < config.training.loss_chunk) chunks.push_back(fmt::format("training.loss_chunk={}", rows));
    std::ranges::sort(chunks);
    chunks.erase(std::unique(chunks.begin(), chunks.end()), chunks.end());
    out.push_back(chunks);
  }
  Alternatives micro;
  for (int64_t size = stage.micro_batch / 2; size >= 1; size /= 2)
    micro.push_back(fmt::format("training.micro_batch={}", size));
  out.push_back(micro);
  const MeshShape& mesh = config.parallel.mesh;
  if (!config.parallel.sequence_parallel && mesh.tensor_parallel > 1)
    out.push_back({"parallel.sequence_parallel=true"});
  const auto wider = [&](const char* axis, int now_there) {
    Alternatives sizes;
    for (const int factor : {2, 4, 8, 16}) sizes.push_back(fmt::format("parallel.{}={}", axis, now_there * factor));
    out.push_back(sizes);
  };
  wider("context_parallel", mesh.context_parallel);
  wider("tensor_parallel", mesh.tensor_parallel);
  if (training) wider("data_parallel", mesh.data_parallel);
  return out;
}

// Appends every combination of `count` fields from `first` on, with each of their values.
void choose(const std::vector<Alternatives>& fields, size_t first, size_t count, Settings& chosen,
            std::vector<Settings>& out) {
  if (count == 0) {
    out.push_back(chosen);
    return;
  }
  for (size_t i = first; i + count <= fields.size(); ++i)
    for (const std::string& value : fields[i]) {
      chosen.push_back(value);
      choose(fields, i + 1, count - 1, chosen, out);
      chosen.pop_back();
    }
}

int64_t sent(const MeshEstimate& estimate) {
  int64_t bytes = 0;
  for (const MeshEstimate::Sent& axis : estimate.bytes_sent) bytes += axis.most;
  return bytes;
}

Change change_of(const Settings& settings, const Evaluation& now, const Evaluation& then) {
  const MeshEstimate &before = now.largest_stage(), &after = then.stages[now.largest];
  const int ranks = now.config.parallel.mesh.size(), ranks_then = then.config.parallel.mesh.size();
  return {.settings = settings,
          .needed = then.needed,
          .saved = now.needed - then.needed,
          .sent_more = sent(after) - sent(before),
          .arithmetic_more = after.mean_flops * ranks_then / (before.mean_flops * ranks) - 1,
          .ranks_more = ranks_then - ranks};
}

bool needs_ranks(const Settings& settings) {
  return std::ranges::any_of(settings, [](const std::string& setting) {
    return setting.find("_parallel=") != std::string::npos && !setting.starts_with("parallel.sequence_parallel");
  });
}

auto price(const Change& change) { return std::tuple(change.ranks_more, change.arithmetic_more, change.sent_more); }

std::vector<Change> changes_of(const std::vector<Settings>& all, const Evaluation& now, const Reconfigure& reconfigure,
                               Purpose purpose, double seconds) {
  // Fixes data_parallel: 0 in the configuration would be replaced by ranks / (context_parallel x tensor_parallel).
  const std::string fixed = fmt::format("parallel.data_parallel={}", now.config.parallel.mesh.data_parallel);
  const Reconfigure with_fixed = [&](const Settings& settings) {
    Settings complete = {fixed};
    complete.insert(complete.end(), settings.begin(), settings.end());
    return reconfigure(complete);
  };
  const auto evaluations = evaluate_plans(with_fixed, all, purpose, seconds);
  std::vector<Change> out;
  for (size_t i = 0; i < all.size(); ++i)
    if (evaluations[i] && evaluations[i]->needed < now.needed) out.push_back(change_of(all[i], now, *evaluations[i]));
  std::ranges::stable_sort(out, {}, price);
  return out;
}

}  // namespace

MemoryAdvice advise_on_memory(const Evaluation& now, const Reconfigure& reconfigure, Purpose purpose, int64_t limit) {
  const double end = steady_seconds() + kSeconds;
  const std::vector<Alternatives> fields = alternatives_of(now, purpose);
  MemoryAdvice out;
  const auto fits_limit = [&](const Change& change) { return change.needed <= limit; };
  const size_t most = now.needed > limit && limit > 0 ? kMostSettings : 1;
  for (size_t count = 1; count <= most && !out.with_these_ranks; ++count) {
    std::vector<Settings> all;
    Settings chosen;
    choose(fields, 0, count, chosen, all);
    // After a change that adds ranks fits, only changes that add none are of interest.
    if (out.smallest) std::erase_if(all, needs_ranks);
    const std::vector<Change> changes = changes_of(all, now, reconfigure, purpose, end - steady_seconds());
    if (count == 1) out.changes = changes;
    if (most == 1) break;
    // Changes are sorted by price, so this one adds ranks only if every change that fits does.
    const auto fits = std::ranges::find_if(changes, fits_limit);
    if (fits == changes.end()) continue;
    if (!out.smallest) out.smallest = *fits;
    if (fits->ranks_more == 0) out.with_these_ranks = *fits;
  }
  return out;
}

}  // namespace ropewalk
