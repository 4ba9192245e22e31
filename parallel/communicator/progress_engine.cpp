#include "parallel/communicator/progress_engine.h"

#include <cstddef>
#include <utility>

#include "kernels/clock.h"

namespace ropewalk {

class ProgressEngine::Driven final : public Transfer {
 public:
  Driven(ProgressEngine& list, std::unique_ptr<Transfer> inner) : list_(list), inner_(std::move(inner)) {
    list_.transfers_.push_back(inner_.get());
  }
  ~Driven() override { remove(); }

  bool progress() override { return inner_->progress(); }
  bool needs_polling() const override { return inner_->needs_polling(); }
  void wait() override {
    remove();  // its wait drives the others
    inner_->wait();
  }
  DeviceTime device_time() const override { return inner_->device_time(); }

 private:
  void remove() { std::erase(list_.transfers_, inner_.get()); }

  ProgressEngine& list_;
  std::unique_ptr<Transfer> inner_;
};

std::unique_ptr<Transfer> ProgressEngine::driven(std::unique_ptr<Transfer> transfer) {
  if (!transfer->needs_polling()) return transfer;
  return std::make_unique<Driven>(*this, std::move(transfer));
}

void ProgressEngine::poll() {
  if (transfers_.empty() || driving_) return;  // driving: one that has failed waits for what it cannot take back
  driving_ = true;
  const double begin = steady_seconds();
  const auto end = [&] {
    driving_ = false;
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
