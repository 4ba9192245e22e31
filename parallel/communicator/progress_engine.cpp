#include "parallel/communicator/progress_engine.h"

#include <cstddef>
#include <utility>

#include "kernels/clock.h"

namespace ropewalk {

class ProgressEngine::TrackedTransfer final : public Transfer {
 public:
  TrackedTransfer(ProgressEngine& engine, std::unique_ptr<Transfer> inner) : engine_(engine), inner_(std::move(inner)) {
    engine_.transfers_.push_back(inner_.get());
  }
  ~TrackedTransfer() override { remove(); }

  bool progress() override { return inner_->progress(); }
  bool needs_polling() const override { return inner_->needs_polling(); }
  void wait() override {
    remove();  // its wait polls the others
    inner_->wait();
  }
  DeviceTime device_time() const override { return inner_->device_time(); }

 private:
  void remove() { std::erase(engine_.transfers_, inner_.get()); }

  ProgressEngine& engine_;
  std::unique_ptr<Transfer> inner_;
};

std::unique_ptr<Transfer> ProgressEngine::track(std::unique_ptr<Transfer> transfer) {
  if (!transfer->needs_polling()) return transfer;
  return std::make_unique<TrackedTransfer>(*this, std::move(transfer));
}

void ProgressEngine::poll() {
  if (transfers_.empty() || polling_) return;  // re-entrancy guard: a failing transfer may wait, which polls again
  polling_ = true;
  const double begin = steady_seconds();
  const auto end = [&] {
    polling_ = false;
    seconds_ += steady_seconds() - begin;
  };
  size_t i = 0;
  try {
    while (i < transfers_.size()) {
      if (transfers_[i]->progress())
        transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(i));
      else
        ++i;
    }
  } catch (...) {
    transfers_.erase(transfers_.begin() + static_cast<std::ptrdiff_t>(i));
    end();
    throw;
  }
  end();
}

}  // namespace ropewalk
