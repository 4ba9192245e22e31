#include "parallel/in_flight.h"

#include <cstddef>
#include <utility>

#include "kernels/clock.h"

namespace ropewalk {

class InFlight::Driven final : public Transfer {
 public:
  Driven(InFlight& list, std::unique_ptr<Transfer> inner) : list_(list), inner_(std::move(inner)) {
    list_.transfers_.push_back(inner_.get());
  }
  ~Driven() override { remove(); }

  bool progress() override { return inner_->progress(); }
  bool needs_driving() const override { return inner_->needs_driving(); }
  void wait() override {
    remove();  // its wait drives the others
    inner_->wait();
  }
  DeviceTime device_time() const override { return inner_->device_time(); }

 private:
  void remove() { std::erase(list_.transfers_, inner_.get()); }

  InFlight& list_;
  std::unique_ptr<Transfer> inner_;
};

std::unique_ptr<Transfer> InFlight::driven(std::unique_ptr<Transfer> transfer) {
  if (!transfer->needs_driving()) return transfer;
  return std::make_unique<Driven>(*this, std::move(transfer));
}

void InFlight::progress() {
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
