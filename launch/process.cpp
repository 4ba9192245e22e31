#include "launch/process.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>

#include "launch/output.h"
#include "parallel/host_name.h"
#include "parallel/make_communicator.h"
#include "trainer/metrics/progress.h"

namespace ropewalk {

namespace {

using namespace std::chrono_literals;

// How long a failed rank waits for the others to fail too, before it ends them.
constexpr auto kAgreementWait = 2s;

}  // namespace

void say(const std::string& message) {
  // A status line that is drawn in place may be on the terminal, and nobody comes to clear it.
  const std::string clear = Terminal::of_stderr().redraws ? "\r\x1b[K" : "";
  write_all(STDERR_FILENO, clear + "ropewalk: " + message + "\n");  // where it fails, there is nobody left to tell
}

Process::Process(const Launcher& launcher) {
  check_server(launcher);
  if (launcher.is_of_a_job()) {
    session_.emplace();
    roll_call_.emplace();
  }
  hosts_ = session_ ? session_->hosts() : std::vector{host_name()};
  check_world(launcher, size());
}

WorldOptions Process::options(std::chrono::milliseconds deadline) {
  // Ranks that wait report as soon as one has failed, so that those that say nothing are few.
  return {deadline, hosts_, [this] { return roll_call_ && roll_call_->has_begun(); }, failure_handler()};
}

std::shared_ptr<Communicator> Process::world(std::chrono::milliseconds deadline) {
  return make_world(session_ ? Transport::kMpi : Transport::kSingle, options(deadline));
}

std::string Process::transport() const {
  if (!session_) return "no MPI";
  return session_->library().substr(0, session_->library().find(','));  // the rest is of the build
}

FailureHandler Process::failure_handler() {
  return [this](const PeerError& error) {
    if (std::uncaught_exceptions() == 0) end_all(settle(failure_of(std::make_exception_ptr(error))));
    messages_open_ = true;  // another error, which is the cause, is on its way to run()
  };
}

ExitCode Process::run(const std::function<ExitCode()>& job) {
  std::optional<Failure> failure;
  try {
    return job();
  } catch (...) {
    failure = failure_of(std::current_exception());
  }
  // The memory of its messages is gone, and MPI must not touch it.
  if (failure->code == ExitCode::kCommunication) messages_open_ = true;
  return settle(*failure);  // when the exception is gone, and MPI can be left in order
}

ExitCode Process::settle(const Failure& failure) {
  if (messages_open_) {
    say(fmt::format("rank {} on {}: {}", rank(), host(), failure.message));
    end_all(failure.code);
  }
  const Reports reports = gather_reports(failure);
  const auto heard = [](const std::optional<Failure>& report) { return report.has_value(); };
  const bool all_fail = std::ranges::all_of(reports, heard);
  const bool speaks = std::ranges::find_if(reports, heard) - reports.begin() == rank();
  if (speaks) say(tell(reports, Roster(size(), hosts_)));
  // The launcher ends all ranks when the first one leaves: none does before that one has spoken.
  if (roll_call_ && (all_fail || !speaks)) roll_call_->call("", kAgreementWait);
  const ExitCode code = common_code(reports);
  // These come between steps, and what is in flight then was waited for; after any other failure, messages may be open
  // that MPI_Finalize would wait for.
  const bool in_order =
      code == ExitCode::kConfiguration || code == ExitCode::kData || code == ExitCode::kCheckpoint || !session_;
  if (!all_fail || !in_order) end_all(code);
  return code;
}

Reports Process::gather_reports(const Failure& mine) {
  if (!roll_call_) return {mine};
  Reports reports;
  for (const std::optional<std::string>& text : roll_call_->call(encode(mine), kAgreementWait))
    reports.push_back(text ? std::optional(decode(*text)) : std::nullopt);
  return reports;
}

void Process::end_all(ExitCode code) const {
  if (session_) session_->abort(static_cast<int>(code));
  std::_Exit(static_cast<int>(code));
}

ExitCode run_process(const Launcher& launcher, const std::function<ExitCode(Process&)>& job) {
  try {
    Process process(launcher);
    return process.run([&] { return job(process); });
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    say(fmt::format("rank {} on {}: {}", launcher.rank, host_name(), failure.message));
    return failure.code;
  }
}

std::string text_of_rank_0(Communicator& world, const std::function<std::string()>& make_text) {
  std::string text;
  if (world.rank() == 0) {
    try {
      text = "+" + make_text();
    } catch (const ConfigurationError& error) {
      text = std::string("-") + error.what();
    }
  }
  text = broadcast_text(world, text, 0);
  if (text.at(0) == '-') throw ConfigurationError(text.substr(1));
  return text.substr(1);
}

}  // namespace ropewalk
