#include "launch/report.h"

#include <algorithm>
#include <new>
#include <sstream>
#include <tuple>
#include <utility>

#include "parallel/communicator.h"

namespace ropewalk {

namespace {

constexpr size_t kMessagesTold = 4;

bool is_cause(const Failure& failure) { return failure.code != ExitCode::kCommunication; }

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// What several ranks say, and which.
struct Statement {
  std::string text;
  std::vector<int> ranks;
};

template <typename Choose>
std::vector<Statement> statements(const Reports& reports, Choose text_of) {
  std::vector<Statement> out;
  for (size_t rank = 0; rank < reports.size(); ++rank) {
    if (!reports[rank]) continue;
    const std::string text = text_of(*reports[rank]);
    if (text.empty()) continue;
    auto found = std::ranges::find(out, text, &Statement::text);
    if (found == out.end()) found = out.insert(found, {text, {}});
    found->ranks.push_back(static_cast<int>(rank));
  }
  return out;
}

// Ranks that were not heard and are waited for by one that was.
std::vector<int> suspects(const Reports& reports) {
  std::vector<int> out;
  for (size_t rank = 0; rank < reports.size(); ++rank) {
    const auto waits = [&](const std::optional<Failure>& report) {
      return report && std::ranges::count(report->unanswered, static_cast<int>(rank)) > 0;
    };
    if (!reports[rank] && std::ranges::any_of(reports, waits)) out.push_back(static_cast<int>(rank));
  }
  return out;
}

// The report that is nearest to the cause: of ranks that disagree; else of a rank that waits for few but suspects.
const Failure& leading(const Reports& reports, const std::vector<int>& suspects) {
  const auto place = [&](const Failure& failure) {
    const auto waited_for = static_cast<int64_t>(failure.unanswered.size());
    const int64_t silent =
        std::ranges::count_if(suspects, [&](int rank) { return std::ranges::count(failure.unanswered, rank) > 0; });
    return std::tuple(waited_for > 0, silent == 0, waited_for - silent, waited_for);
  };
  const Failure* first = nullptr;
  for (const auto& report : reports)
    if (report && (!first || place(*report) < place(*first))) first = &*report;
  return *first;
}

std::string tell_causes(const Reports& reports, const Roster& ranks) {
  const std::vector<Statement> causes =
      statements(reports, [](const Failure& failure) { return is_cause(failure) ? failure.message : ""; });
  if (causes.front().ranks.size() == reports.size()) return causes.front().text;
  std::string text;
  for (size_t i = 0; i < std::min(causes.size(), kMessagesTold); ++i)
    text += fmt::format("{}{}: {}", i == 0 ? "" : "\n", ranks.names(causes[i].ranks), causes[i].text);
  if (causes.size() > kMessagesTold) text += fmt::format("\nand {} other messages", causes.size() - kMessagesTold);
  return text;
}

std::string tell_silence(const Reports& reports, const Roster& ranks) {
  const std::vector<int> silent = suspects(reports);
  const Failure& lead = leading(reports, silent);
  std::string text = first_line(lead.message);
  const auto heard = std::ranges::count_if(reports, [](const auto& report) { return report.has_value(); });
  if (!silent.empty())
    text +=
        fmt::format("\n  no word from {}; {} of {} ranks have reported", ranks.names(silent), heard, reports.size());
  if (silent.empty() && !lead.unanswered.empty()) {
    // Nobody who is waited for is silent: each wait may be part of the cause.
    const std::vector<Statement> others = statements(reports, [&](const Failure& failure) {
      return first_line(failure.message) == first_line(lead.message) ? "" : first_line(failure.message);
    });
    for (size_t i = 0; i < std::min(others.size(), kMessagesTold - 1); ++i) text += "\n  " + others[i].text;
    if (others.size() >= kMessagesTold)
      text += fmt::format("\n  and {} other messages", others.size() - kMessagesTold + 1);
  }
  return text + lead.message.substr(first_line(lead.message).size());
}

}  // namespace

Failure failure_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const PeerError& error) {
    return {error.code(), error.what(), error.unanswered};
  } catch (const Error& error) {
    return {error.code(), error.what(), {}};
  } catch (const std::bad_alloc&) {
    return {
        ExitCode::kDevice,
        "out of host memory; lower training.micro_batch or data.sequence_length, or share the model among more ranks "
        "(parallel.tensor_parallel, parallel.context_parallel)",
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
  std::string bytes = fmt::format("{} {}", static_cast<int>(failure.code), failure.unanswered.size());
  for (int rank : failure.unanswered) bytes += fmt::format(" {}", rank);
  return bytes + "\n" + failure.message;
}

Failure decode(const std::string& bytes) {
  std::istringstream in(bytes);
  int code = 0;
  size_t count = 0;
  in >> code >> count;
  Failure failure{static_cast<ExitCode>(code), "", std::vector<int>(count)};
  for (int& rank : failure.unanswered) in >> rank;
  failure.message = bytes.substr(static_cast<size_t>(in.tellg()) + 1);
  return failure;
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
