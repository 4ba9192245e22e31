#include "launch/process/process.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <exception>
#include <string_view>
#include <thread>

#include "launch/process/leftovers.h"
#include "launch/process/output.h"
#include "launch/process/unfinished_files.h"
#include "parallel/communicator/host_name.h"
#include "parallel/communicator/make_communicator.h"
#include "trainer/metrics/progress.h"
#include "trainer/text/format.h"

namespace ropewalk {

namespace {

using namespace std::chrono_literals;

// How long a failed rank waits for reports of the others before it ends them.
constexpr auto kAgreementWait = 2s;
// How long MPI_Finalize may take when messages are in flight.
constexpr auto kEndWait = 5s;

// MPI does not say which ranks it waits for, so every waiting rank reports itself, and leaves time for the others to do
// so: mpirun ends all ranks when the first one exits.
OverdueHandler overdue_handler(const std::string& who) {
  return [who](const std::string& call, double seconds) {
    say(fmt::format(
        "{} has waited {:.1f} s in {}, for the ranks that print no such line; look at those and their hosts "
        "(--start-deadline and parallel.deadline_seconds give them longer)",
        who, seconds, call));
    std::this_thread::sleep_for(kAgreementWait);
    std::_Exit(static_cast<int>(ExitCode::kCommunication));
  };
}

constexpr const char* kSharedMemory = "/dev/shm";
constexpr int64_t kSharedBytes = 5 << 20;  // Open MPI needs 4 MiB free to create a rank's segment

// Restricts ranks of one host to shared memory: the TCP transport would listen on every interface. Respects transports
// chosen by mpirun --mca btl or in the environment, but overrides a file of MCA parameters.
void use_shared_memory_alone(bool first_here) {
  if (setenv("OMPI_MCA_btl", "self,vader", 0) != 0 || !first_here) return;
  struct statvfs memory {};
  if (std::string_view(std::getenv("OMPI_MCA_btl")) != "self,vader" || statvfs(kSharedMemory, &memory) != 0) return;
  const auto left = static_cast<int64_t>(memory.f_bavail * memory.f_frsize);
  if (left >= kSharedBytes || (memory.f_flag & ST_RDONLY))
    return;  // if /dev/shm is read-only, Open MPI uses a file elsewhere
  throw ConfigurationError(fmt::format(
      "{} has {} left, too little for the messages between the ranks of this host; remove files there, give the "
      "container more (docker run --shm-size=1g), or let the ranks use the network: mpirun --mca btl self,tcp",
      kSharedMemory, bytes_text(static_cast<double>(left))));
}

void remove_leftovers(const Launcher& launcher) {
  const int64_t segments = remove_segments();
  const int64_t folders = launcher.launcher_folders.empty() ? 0 : remove_launchers(launcher.launcher_folders);
  if (segments + folders > 0)
    say(fmt::format("removed {} on {} that killed jobs of this user had left in {}{}",
                    bytes_text(static_cast<double>(segments + folders)), host_name(), kSharedMemory,
                    folders > 0 ? " and " + launcher.launcher_folders : ""));
}

}  // namespace

void say(const std::string& message) {
  // A status line may still be on the terminal: clear it first.
  const std::string clear = Terminal::of_stderr().redraws ? "\r\x1b[K" : "";
  write_all(STDERR_FILENO, clear + "ropewalk: " + message + "\n");  // an error here cannot be reported
}

Process::Process(const Launcher& launcher, std::chrono::milliseconds start_deadline) : hosts_{host_name()} {
  const auto start = [] { return this_start(); };
  check_server(launcher, start);
  if (launcher.is_of_a_job()) {
    on_overdue_ = overdue_handler(fmt::format("rank {} on {}", launcher.rank, host_name()));
    if (launcher.rank_here == 0) remove_leftovers(launcher);
    if (launcher.on_one_host) use_shared_memory_alone(launcher.rank_here == 0);
    session_.emplace(start_deadline, on_overdue_);
    roll_call_.emplace();
    meet(start_deadline);
    node_rank_ = session_->node_rank();
  }
  check_world(launcher, size(), start);
}

void Process::meet(std::chrono::milliseconds deadline) {
  UnresponsivePeers unresponsive;
  hosts_.clear();
  for (const std::optional<std::string>& host : roll_call_->call(session_->host(), deadline)) {
    if (!host) unresponsive.ranks.push_back(static_cast<int>(hosts_.size()));
    hosts_.push_back(host.value_or("a host that is not known yet"));
  }
  if (unresponsive.ranks.empty()) return;
  unresponsive.seconds = roll_call_->seconds();
  const Roster ranks(size(), hosts_);
  const std::string message =
      fmt::format("{} {} not answered {} for {:.1f} s since MPI_Init", ranks.names(unresponsive.ranks),
                  unresponsive.ranks.size() == 1 ? "has" : "have", ranks.name(rank()), unresponsive.seconds);
  settle({ExitCode::kCommunication, message, unresponsive});
}

WorldOptions Process::options(std::chrono::milliseconds deadline) {
  // Waiting ranks report as soon as any rank has failed, so that few ranks are without a report.
  return {deadline, hosts_, [this] { return roll_call_ && roll_call_->is_called(); }, failure_handler(), on_overdue_};
}

std::shared_ptr<Communicator> Process::world(std::chrono::milliseconds deadline) {
  if (session_) session_->set_deadline(deadline);
  return make_world(session_ ? Transport::kMpi : Transport::kSingle, options(deadline));
}

std::string Process::transport() const {
  if (!session_) return "no MPI";
  return session_->library().substr(0, session_->library().find(','));  // the rest describes its build
}

FailureHandler Process::failure_handler() {
  return [this](const PeerError& error) {
    if (std::uncaught_exceptions() == 0) end_all(settle(failure_of(std::make_exception_ptr(error))));
    messages_open_ = true;  // run() will catch the error that caused this one
  };
}

ExitCode Process::run(const std::function<ExitCode()>& job) {
  std::optional<Failure> failure;
  try {
    return job();
  } catch (...) {
    failure = failure_of(std::current_exception());
  }
  // Unwinding has freed the buffers of its messages, and MPI must not access them.
  if (failure->code == ExitCode::kCommunication) messages_open_ = true;
  return settle(*failure);  // outside the handler: the exception is destroyed
}

ExitCode Process::settle(const Failure& failure) {
  UnfinishedFiles::remove();  // before the report: once a rank has reported, another rank may end the job
  if (messages_open_) {
    say(fmt::format("rank {} on {}: {}", rank(), host(), failure.message));
    end_all(failure.code);
  }
  const Reports reports = gather_reports(failure);
  const auto heard = [](const std::optional<Failure>& report) { return report.has_value(); };
  const bool all_fail = std::ranges::all_of(reports, heard);
  const bool speaks = std::ranges::find_if(reports, heard) - reports.begin() == rank();
  if (speaks) say(tell(reports, Roster(size(), hosts_)));
  // The launcher ends all ranks when the first one exits, so every rank waits until the report is printed.
  if (roll_call_ && (all_fail || !speaks)) roll_call_->call("", kAgreementWait);
  const ExitCode code = common_code(reports);
  if (!session_) return code;
  // Waiting ranks have not unwound their stacks, so the buffers of messages in flight are valid.
  if (all_fail) session_->leave(static_cast<int>(code), kEndWait);
  end_all(code);
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

ExitCode run_process(const Launcher& launcher, const std::function<ExitCode(Process&)>& job,
                     std::chrono::milliseconds start_deadline) {
  try {
    Process process(launcher, start_deadline);
    return process.run([&] { return job(process); });
  } catch (...) {
    const Failure failure = failure_of(std::current_exception());
    say(fmt::format("rank {} on {}: {}", launcher.rank, host_name(), failure.message));
    return failure.code;
  }
}

std::string text_of_rank_0(Communicator& world, const std::function<std::string()>& make_text) {
  constexpr char kText = '\0';
  std::string text;
  if (world.rank() == 0) {
    try {
      text = kText + make_text();
    } catch (const Error& error) {  // its exit code in place of kText
      text = static_cast<char>(error.code()) + std::string(error.what());
    }
  }
  text = broadcast_text(world, text, 0);
  const auto code = static_cast<ExitCode>(text.at(0));
  const std::string rest = text.substr(1);
  if (code == ExitCode::kConfiguration) throw ConfigurationError(rest);  // which callers may add to
  if (text.at(0) != kText) throw Error(code, rest);
  return rest;
}

}  // namespace ropewalk
