// Test doubles of the communicator. ForwardingCommunicator forwards all calls; it is a base for others.
// StrictCommunicator enforces the contract of an exchange: until wait() returns, received tensors hold NaN, and tensors
// that are sent must not change.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <vector>

#include "parallel/communicator/communicator.h"

namespace ropewalk {

class ForwardingCommunicator : public Communicator {
 public:
  explicit ForwardingCommunicator(Communicator& inner) : inner_(inner) {}
  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string name(int rank) const override { return inner_.name(rank); }
  int64_t bytes_sent() const override { return inner_.bytes_sent(); }
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    return inner_.start_exchange(sends, receives);
  }
  void all_reduce(const Tensor& x, Reduction reduction) override { inner_.all_reduce(x, reduction); }
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                 const Tensor& mine) override {
    return inner_.start_reduce_scatter(all, rows, mine);
  }
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    return inner_.start_all_gather(mine, rows, all);
  }
  void broadcast(const Tensor& x, int root) override { inner_.broadcast(x, root); }
  void barrier() override { inner_.barrier(); }
  ProgressEngine& progress_engine() override { return inner_.progress_engine(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_.split(color, key); }

 private:
  Communicator& inner_;
};

class StrictExchange final : public Transfer {
 public:
  StrictExchange(Communicator& inner, std::span<const Message> sends, std::span<const Message> receives)
      : sends_(sends.begin(), sends.end()), receives_(receives.begin(), receives.end()) {
    for (const Message& send : sends_) sent_.push_back(bytes_of(send.data));
    std::vector<Message> hidden;
    for (const Message& receive : receives_) {
      const Tensor& x = receive.data;
      arriving_.emplace_back(static_cast<size_t>(x.bytes()));
      hidden.push_back({receive.peer, Tensor(arriving_.back().data(), x.dtype(), x.device(), x.shape())});
      std::fill_n(static_cast<std::byte*>(x.raw()), x.bytes(), std::byte{0xff});  // a NaN in every floating type
    }
    inner_ = inner.start_exchange(sends, hidden);
  }

  bool progress() override { return inner_->progress(); }
  void wait() override {
    inner_->wait();
    for (size_t i = 0; i < sends_.size(); ++i) {
      EXPECT_TRUE(bytes_of(sends_[i].data) == sent_[i]) << "a message changed while it was in flight";
    }
    for (size_t i = 0; i < receives_.size(); ++i) {
      std::copy(arriving_[i].begin(), arriving_[i].end(), static_cast<std::byte*>(receives_[i].data.raw()));
    }
  }

 private:
  static std::vector<std::byte> bytes_of(const Tensor& x) {
    const auto* const begin = static_cast<const std::byte*>(x.raw());
    return {begin, begin + x.bytes()};
  }

  std::vector<Message> sends_, receives_;
  std::vector<std::vector<std::byte>> sent_, arriving_;
  std::unique_ptr<Transfer> inner_;
};

class StrictCommunicator final : public ForwardingCommunicator {
 public:
  explicit StrictCommunicator(Communicator& inner) : ForwardingCommunicator(inner), inner_(inner) {}
  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    return std::make_unique<StrictExchange>(inner_, sends, receives);
  }

 private:
  Communicator& inner_;
};

}  // namespace ropewalk
