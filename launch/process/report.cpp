#include "launch/process/report.h"

#include <algorithm>
#include <new>
#include <sstream>
#include <tuple>
#include <utility>

namespace ropewalk {

namespace {

constexpr size_t kMessagesTold = 4;

bool is_cause(const Failure& failure) { return failure.code != ExitCode::kCommunication; }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// A text and the ranks that report it.
struct Statement {
  std::string text;
  std::vector<int> ranks;
};

template <typename Choose>
std::vector<Statement> statements(const Reports& reports, Choose text_of) {
  std::vector<Statement> out;
  for (size_t rank = 0; rank < reports.size(); ++rank) {
    if (!reports[rank]) continue;
    const std::optional<std::string> text = text_of(*reports[rank]);
    if (!text) continue;
    auto found = std::ranges::find(out, *text, &Statement::text);
    if (found == out.end()) found = out.insert(found, {*text, {}});
    found->ranks.push_back(static_cast<int>(rank));
  }
  return out;
}

std::vector<int> silent_ranks(const Reports& reports) {
  std::vector<int> out;
  for (size_t rank = 0; rank < reports.size(); ++rank)
    if (!reports[rank]) out.push_back(static_cast<int>(rank));
  return out;
}

// The report closest to the cause. A report without unresponsive peers comes first (ranks that disagree). Next come the
// long waits, those of at least half the longest time. Among these, waits for silent ranks come first, then those for
// the fewest ranks that have reported, then those for the fewest silent ranks.
const Failure& leading(const Reports& reports) {
  double longest = 0;
  for (const auto& report : reports)
    if (report) longest = std::max(longest, report->unresponsive.seconds);
  const auto place = [&](const Failure& failure) {
    const std::vector<int>& peers = failure.unresponsive.ranks;
    const auto silent = std::ranges::count_if(peers, [&](int rank) { return !reports[static_cast<size_t>(rank)]; });
    const auto victims = static_cast<int64_t>(peers.size()) - silent;
    return std::tuple(!peers.empty(), failure.unresponsive.seconds < longest / 2, silent == 0, victims, silent);
  };
  const Failure* first = nullptr;
  for (const auto& report : reports)
    if (report && (!first || place(*report) < place(*first))) first = &*report;
  return *first;
}

std::string tell_causes(const Reports& reports, const Roster& ranks) {
  const std::vector<Statement> causes = statements(reports, [](const Failure& failure) {
    return is_cause(failure) ? std::optional(failure.message) : std::nullopt;
  });
  if (causes.front().ranks.size() == reports.size()) return causes.front().text;
  std::string text;
  for (size_t i = 0; i < std::min(causes.size(), kMessagesTold); ++i)
    text += fmt::format("{}{}: {}", i == 0 ? "" : "\n", ranks.names(causes[i].ranks), causes[i].text);
  if (causes.size() > kMessagesTold) text += fmt::format("\nand {} other messages", causes.size() - kMessagesTold);
  return text;
}

std::string tell_silence(const Reports& reports, const Roster& ranks) {
  const std::vector<int> silent = silent_ranks(reports);
  const Failure& lead = leading(reports);
  const std::string headline = first_line(lead.message), details = lead.message.substr(headline.size());
  std::string text = headline;
  if (lead.unresponsive.ranks.empty()) return text + details;
  if (!silent.empty()) {
    text += fmt::format("\n  no word from {}; {} of {} ranks have reported", ranks.names(silent),
                        reports.size() - silent.size(), reports.size());
  } else {
    // Every rank has reported: each wait may be part of the cause.
    const std::vector<Statement> others = statements(reports, [&](const Failure& failure) {
      const std::string line = first_line(failure.message);
      return line == headline ? std::nullopt : std::optional(line);
    });
    for (size_t i = 0; i < std::min(others.size(), kMessagesTold - 1); ++i) text += "\n  " + others[i].text;
    if (others.size() >= kMessagesTold)
      text += fmt::format("\n  and {} other messages", others.size() - kMessagesTold + 1);
  }
  return text + details;
}

}  // namespace

Failure failure_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const PeerError& error) {
    return {error.code(), error.what(), error.unresponsive};
  } catch (const Error& error) {
    return {error.code(), error.what(), {}};
  } catch (const std::bad_alloc&) {
    return {ExitCode::kDevice,
            "out of host memory; lower training.micro_batch or data.sequence_length (or the stage's), or share the "
            "model among more ranks (parallel.tensor_parallel, parallel.context_parallel)",
            {}};
  } catch (const std::logic_error& error) {
    const std::string what = error.what();
    return {
        ExitCode::kFailure, what.find("bug") != std::string::npos ? what : what + ". This is a bug in ropewalk.", {}};
  } catch (const std::exception& error) {
    return {ExitCode::kFailure, error.what(), {}};
  }
}

std::string encode(const Failure& failure) {
  const auto& [ranks, seconds] = failure.unresponsive;
  std::string bytes = fmt::format("{} {} {}", static_cast<int>(failure.code), seconds, ranks.size());
  for (int rank : ranks) bytes += fmt::format(" {}", rank);
  return bytes + "\n" + failure.message;
}

Failure decode(const std::string& bytes) {
  std::istringstream in(bytes);
  int code = 0;
  size_t count = 0;
  UnresponsivePeers unresponsive;
  in >> code >> unresponsive.seconds >> count;
  unresponsive.ranks.resize(count);
  for (int& rank : unresponsive.ranks) in >> rank;
  return {static_cast<ExitCode>(code), bytes.substr(bytes.find('\n') + 1), unresponsive};
}

ExitCode common_code(const Reports& reports) {
  for (const auto& report : reports)
    if (report && is_cause(*report)) return report->code;
  return ExitCode::kCommunication;
}

std::string tell(const Reports& reports, const Roster& ranks) {
  return common_code(reports) == ExitCode::kCommunication ? tell_silence(reports, ranks) : tell_causes(reports, ranks);
}

}  // namespace ropewalk
