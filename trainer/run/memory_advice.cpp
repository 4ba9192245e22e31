#include "trainer/run/memory_advice.h"

#include <algorithm>
#include <tuple>

#include "trainer/config/stages.h"

namespace ropewalk {
namespace {

using Settings = std::vector<std::string>;
using Recompute = TrainingConfig::Recompute;

constexpr size_t kMostSettings = 4;
constexpr int kMostRanksAdvised = 1 << 16;

// The values of one field that need less memory than its present one, from the mildest to the strongest.
struct Field {
  std::vector<std::string> values;  // "training.recompute=BLOCK"
  bool adds_ranks = false;
};

std::vector<Field> fields_of(const Evaluation& now, Purpose purpose) {
  const Config& config = now.config;
  const MeshShape& mesh = config.parallel.mesh;
  std::vector<Field> out;
  if (purpose == Purpose::kTraining) {
    Field& recompute = out.emplace_back();
    if (config.training.recompute == Recompute::kNothing)
      recompute.values.push_back("training.recompute=BLOCK_BUT_ATTENTION");
    if (config.training.recompute != Recompute::kBlock) recompute.values.push_back("training.recompute=BLOCK");
    Field& chunk = out.emplace_back();
    for (int64_t rows = config.training.loss_chunk / 2; rows >= 256; rows /= 4)
      chunk.values.push_back(fmt::format("training.loss_chunk={}", rows));
  }
  Field& micro = out.emplace_back();
  for (int64_t size = config.training.stages[now.largest].micro_batch / 2; size >= 1; size /= 2)
    micro.values.push_back(fmt::format("training.micro_batch={}", size));
  if (!config.parallel.sequence_parallel && mesh.tensor_parallel > 1)
    out.push_back({{"parallel.sequence_parallel=true"}});
  const auto wider = [&](const char* axis, int size) {
    Field& field = out.emplace_back();
    field.adds_ranks = true;
    for (const int factor : {2, 4, 8, 16}) field.values.push_back(fmt::format("parallel.{}={}", axis, size * factor));
  };
  wider("context_parallel", mesh.context_parallel);
  wider("tensor_parallel", mesh.tensor_parallel);
  if (purpose == Purpose::kTraining) wider("data_parallel", mesh.data_parallel);
  return out;
}

int64_t sent(const MeshEstimate& estimate) {
  int64_t bytes = 0;
  for (const MeshEstimate::Sent& axis : estimate.bytes_sent) bytes += axis.most;
  return bytes;
}

Change change_of(const Settings& settings, const Evaluation& now, const Evaluation& then, const MemoryLimit& limit) {
  const MeshEstimate &before = now.largest_stage(), &after = then.stages[now.largest];
  const int ranks = now.config.parallel.mesh.size(), ranks_then = then.config.parallel.mesh.size();
  const int64_t has = limit(then.config.parallel.mesh);
  return {.settings = settings,
          .needed = then.needed,
          .saved = now.needed - then.needed,
          .sent_more = sent(after) - sent(before),
          .arithmetic_more = after.mean_flops * ranks_then / (before.mean_flops * ranks) - 1,
          .ranks_more = ranks_then - ranks,
          .fits = has > 0 && then.needed <= has};
}

auto price(const Change& change) { return std::tuple(change.ranks_more, change.arithmetic_more, change.sent_more); }

class Advisor {
 public:
  Advisor(const Evaluation& now, const Reconfigure& reconfigure, Purpose purpose, const MemoryLimit& limit)
      : now_(now),
        reconfigure_(reconfigure),
        purpose_(purpose),
        limit_(limit),
        has_now_(limit(now.config.parallel.mesh)) {}

  MemoryAdvice run() {
    MemoryAdvice out;
    std::vector<Field> valid;
    for (const Field& field : fields_of(now_, purpose_)) {
      std::vector<Settings> values;
      for (const std::string& value : field.values) values.push_back({value});
      Field kept{{}, field.adds_ranks};
      for (Change& change : changes_of(values)) {
        kept.values.push_back(change.settings[0]);
        if (change.saved > 0) out.changes.push_back(std::move(change));
      }
      if (!kept.values.empty()) valid.push_back(std::move(kept));
    }
    std::ranges::stable_sort(out.changes, {}, price);
    if (has_now_ == 0 || now_.needed <= has_now_) return out;
    out.smallest = fewest(valid);
    out.with_these_ranks = out.smallest;
    if (out.smallest && out.smallest->ranks_more == 0) return out;
    std::erase_if(valid, [](const Field& field) { return field.adds_ranks; });
    out.with_these_ranks = fewest(valid);
    return out;
  }

 private:
  // The changes of those settings that the configuration's rules allow.
  std::vector<Change> changes_of(const std::vector<Settings>& all) const {
    // Fixes data_parallel: 0 in the configuration would be replaced by ranks / (context_parallel x tensor_parallel).
    const std::string fixed = fmt::format("parallel.data_parallel={}", now_.config.parallel.mesh.data_parallel);
    const Reconfigure with_fixed = [&](const Settings& settings) {
      Settings complete = {fixed};
      complete.insert(complete.end(), settings.begin(), settings.end());
      Config config = reconfigure_(complete);
      const int ranks = config.parallel.mesh.size();
      if (ranks > std::max(kMostRanksAdvised, now_.config.parallel.mesh.size()))
        throw ConfigurationError(fmt::format("{} ranks are not advised", ranks));
      return config;
    };
    std::vector<std::optional<Change>> changes(all.size());
    evaluate_plans(with_fixed, all, purpose_,
                   [&](size_t i, const Evaluation& then) { changes[i] = change_of(all[i], now_, then, limit_); });
    std::vector<Change> out;
    for (std::optional<Change>& change : changes)
      if (change) out.push_back(std::move(*change));
    return out;
  }

  // A stronger value of a field never needs more memory, and more ranks never raise the limit. So a choice of fields
  // whose strongest values together need more than a rank has now cannot fit: one estimate for each such choice.
  std::optional<Change> fewest(const std::vector<Field>& fields) const {
    for (size_t count = 1; count <= kMostSettings; ++count) {
      std::vector<std::vector<size_t>> choices;
      std::vector<size_t> chosen;
      choose(fields.size(), 0, count, chosen, choices);
      std::vector<Settings> strongest;
      for (const std::vector<size_t>& choice : choices) {
        strongest.emplace_back();
        for (const size_t field : choice) strongest.back().push_back(fields[field].values.back());
      }
      std::optional<Change> best;
      for (const Change& change : changes_of(strongest)) {
        if (change.needed > has_now_) continue;
        const auto place = static_cast<size_t>(std::ranges::find(strongest, change.settings) - strongest.begin());
        const std::optional<Change> cheapest = with_fewest_ranks(change, fields, choices[place]);
        if (!cheapest) continue;
        const Change mildest = weakened(*cheapest, fields, choices[place]);
        if (!best || price(mildest) < price(*best)) best = mildest;
      }
      if (best) return best;
    }
    return std::nullopt;
  }

  // `strongest` with those values of the fields that add ranks which fit with the fewest ranks; nullopt: none fit. The
  // strongest need not: ranks that share a host share its memory.
  std::optional<Change> with_fewest_ranks(const Change& strongest, const std::vector<Field>& fields,
                                          const std::vector<size_t>& choice) const {
    std::vector<Settings> all = {strongest.settings};
    for (size_t i = 0; i < choice.size(); ++i) {
      if (!fields[choice[i]].adds_ranks) continue;
      std::vector<Settings> more;
      for (const Settings& settings : all)
        for (const std::string& value : fields[choice[i]].values) (more.emplace_back(settings))[i] = value;
      all = std::move(more);
    }
    std::optional<Change> best;
    for (Change& change : changes_of(all))
      if (change.fits && (!best || price(change) < price(*best))) best = std::move(change);
    return best;
  }

  // The mildest value of each other field in turn with which the change still fits.
  Change weakened(Change change, const std::vector<Field>& fields, const std::vector<size_t>& choice) const {
    for (size_t i = 0; i < choice.size(); ++i) {
      if (fields[choice[i]].adds_ranks) continue;
      for (const std::string& value : fields[choice[i]].values) {
        if (value == change.settings[i]) break;
        Settings settings = change.settings;
        settings[i] = value;
        const std::vector<Change> milder = changes_of({settings});
        if (milder.empty() || !milder[0].fits) continue;
        change = milder[0];
        break;
      }
    }
    return change;
  }

  // Appends every choice of `count` of the fields from `first` on.
  static void choose(size_t fields, size_t first, size_t count, std::vector<size_t>& chosen,
                     std::vector<std::vector<size_t>>& out) {
    if (count == 0) {
      out.push_back(chosen);
      return;
    }
    for (size_t i = first; i + count <= fields; ++i) {
      chosen.push_back(i);
      choose(fields, i + 1, count - 1, chosen, out);
      chosen.pop_back();
    }
  }

  const Evaluation& now_;
  const Reconfigure& reconfigure_;
  Purpose purpose_;
  const MemoryLimit& limit_;
  int64_t has_now_;  // bytes that a rank has
};

}  // namespace

MemoryAdvice advise_on_memory(const Evaluation& now, const Reconfigure& reconfigure, Purpose purpose,
                              const MemoryLimit& limit) {
  return Advisor(now, reconfigure, purpose, limit).run();
}

}  // namespace ropewalk
