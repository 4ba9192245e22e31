#include "launch/process.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "parallel/make_communicator.h"

namespace ropewalk {

namespace {

using namespace std::chrono_literals;

// How long a failed rank waits for the others to fail too, before it ends them.
constexpr auto kAgreementWait = 2s;

std::string host_name() {
  char name[256] = {};
  return gethostname(name, sizeof name - 1) == 0 ? name : "this host";
}

// Sent as one letter for the code, then the message.
std::string encode(const Failure& failure) { return static_cast<char>(failure.code) + failure.message; }
ExitCode code_in(const std::string& text) { return static_cast<ExitCode>(static_cast<unsigned char>(text.at(0))); }
Failure decode(const std::string& text) { return {code_in(text), text.substr(1)}; }

// The code of the cause: a rank that lost its peer failed because of the peer.
ExitCode common_code(const std::vector<Failure>& failures) {
  for (const Failure& failure : failures)
    if (failure.code != ExitCode::kCommunication) return failure.code;
  return ExitCode::kCommunication;
}

// Ranks that found the same are told of together.
void say_all(const std::vector<Failure>& failures) {
  std::vector<std::string> told;
  for (size_t rank = 0; rank < failures.size(); ++rank) {
    const std::string& message = failures[rank].message;
    if (std::ranges::count(told, message) > 0) continue;
    told.push_back(message);
    const auto same = std::ranges::count(failures, message, &Failure::message);
    if (same == static_cast<int64_t>(failures.size())) return say(message);
    const std::string others = same > 1 ? fmt::format(" (and {} more)", same - 1) : "";
    say(fmt::format("rank {}{} of {}: {}", rank, others, failures.size(), message));
  }
}

}  // namespace

Failure failure_of(std::exception_ptr exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::bad_alloc&) {
    return {
        ExitCode::kDevice,
        "out of host memory; lower training.micro_batch or data.sequence_length, or share the model among more ranks "
        "(parallel.tensor_parallel, parallel.context_parallel)"};
  } catch (const std::logic_error& error) {
    const std::string what = error.what();
    return {ExitCode::kFailure, what.find("bug") != std::string::npos ? what : what + ". This is a bug in ropewalk."};
  } catch (const std::exception& error) {
    return {ExitCode::kFailure, error.what()};
  }
}

void say(const std::string& message) {
  const std::string line = "ropewalk: " + message + "\n";
  for (size_t done = 0; done < line.size();) {
    const ssize_t count = write(STDERR_FILENO, line.data() + done, line.size() - done);
    if (count <= 0) return;  // there is nobody left to tell
    done += static_cast<size_t>(count);
  }
}

Process::Process(const Launcher& launcher) : host_(host_name()) {
  if (launcher.started_us()) session_.emplace();
  last_words_ = world(kAgreementWait);
  if (launcher.started_us()) check_world(launcher, size());
}

std::shared_ptr<Communicator> Process::world(std::chrono::milliseconds deadline) const {
  return make_world(session_ ? Transport::kMpi : Transport::kSingle, deadline);
}

std::string Process::transport() const {
  if (!session_) return "no MPI";
  return session_->library().substr(0, session_->library().find(','));  // the rest is of the build
}

ExitCode Process::run(const std::function<ExitCode()>& job) const {
  std::optional<Failure> failure;
  try {
    return job();
  } catch (...) {
    failure = failure_of(std::current_exception());
  }
  return settle(*failure);  // when the exception is gone, and MPI can be left in order
}

ExitCode Process::settle(const Failure& failure) const {
  const std::optional<ExitCode> code = tell_together(failure);
  if (!code) {
    say(fmt::format("rank {} of {} on {}: {}", rank(), size(), host_, failure.message));
    end_all(failure.code);
  }
  // These come between exchanges; after any other failure, messages may be open that MPI_Finalize would wait for.
  const bool in_order = *code == ExitCode::kConfiguration || *code == ExitCode::kData || *code == ExitCode::kCheckpoint;
  if (!in_order && session_) end_all(*code);
  return *code;
}

std::optional<ExitCode> Process::tell_together(const Failure& mine) const {
  try {
    const std::vector<std::string> texts = gather_texts(*last_words_, encode(mine));
    std::string code;
    if (rank() == 0) {
      std::vector<Failure> all;
      for (const std::string& text : texts) all.push_back(decode(text));
      say_all(all);
      code = encode({common_code(all), ""});
    }
    // The launcher ends all ranks when the first one leaves: none does before rank 0 has spoken.
    return code_in(broadcast_text(*last_words_, code, 0));
  } catch (const CommunicationError&) {
    return std::nullopt;
  }
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
    say(fmt::format("rank {} of {} on {}: {}", launcher.rank, launcher.size, host_name(), failure.message));
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
