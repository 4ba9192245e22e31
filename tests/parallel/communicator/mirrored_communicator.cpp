#include "tests/parallel/communicator/mirrored_communicator.h"

#include <utility>

namespace ropewalk {
namespace {

class Mirror {
 public:
  Mirror(Kernels& kernels, const Tensor& host)
      : kernels_(kernels), host_(host), buffer_(kernels.allocate(host.bytes())) {
    kernels.upload(host.raw(), on_device());
  }
  Tensor on_device() const { return Tensor(buffer_->data(), host_.dtype(), kernels_.device(), host_.shape()); }
  void bring_back() const { kernels_.download(on_device(), host_.raw()); }

  // The rows of this mirror that correspond to `part`; nullopt unless `part` is rows of the host's tensor.
  std::optional<Tensor> rows_of(const Tensor& part) const {
    const auto offset = static_cast<const std::byte*>(part.raw()) - static_cast<const std::byte*>(host_.raw());
    if (offset < 0 || offset + part.bytes() > host_.bytes() || part.bytes() == 0) return std::nullopt;
    return Tensor(static_cast<std::byte*>(buffer_->data()) + offset, part.dtype(), kernels_.device(), part.shape());
  }

 private:
  Kernels& kernels_;
  Tensor host_;
  std::unique_ptr<Buffer> buffer_;
};

// A transfer between mirrors; results_ are copied back to the host after the wait.
class MirroredTransfer final : public Transfer {
 public:
  ~MirroredTransfer() override {
    try {
      wait();
    } catch (const Error&) {
    }
  }
  bool progress() override { return inner_->progress(); }
  bool needs_polling() const override { return inner_->needs_polling(); }
  void wait() override {
    if (!inner_ || std::exchange(waited_, true)) return;  // null: the start threw
    inner_->wait();
    for (const Mirror& mirror : results_) mirror.bring_back();
  }

  std::vector<Mirror> operands_, results_;
  std::unique_ptr<Transfer> inner_;

 private:
  bool waited_ = false;
};

class MirroredCommunicator final : public Communicator {
 public:
  MirroredCommunicator(std::shared_ptr<Kernels> kernels, std::shared_ptr<Communicator> device)
      : kernels_(std::move(kernels)), device_(std::move(device)) {}

  int rank() const override { return device_->rank(); }
  int size() const override { return device_->size(); }
  std::string name(int rank) const override { return device_->name(rank); }
  int64_t bytes_sent() const override { return device_->bytes_sent(); }

  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    auto transfer = std::make_unique<MirroredTransfer>();
    const auto mirrored = [&](std::span<const Message> messages, std::vector<Mirror>& mirrors) {
      std::vector<Message> out;
      for (const Message& message : messages)
        out.push_back({message.peer, mirrors.emplace_back(of(message.data)).on_device()});
      return out;
    };
    const auto sent = mirrored(sends, transfer->operands_), received = mirrored(receives, transfer->results_);
    transfer->inner_ = device_->start_exchange(sent, received);
    return transfer;
  }
  void all_reduce(const Tensor& x, Reduction reduction) override {
    if (reduction == Reduction::kMax) return device_->all_reduce(x, reduction);  // maxima take host tensors
    const Mirror mirror = of(x);
    device_->all_reduce(mirror.on_device(), reduction);
    mirror.bring_back();
  }
  void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) override {
    collective(all, mine, [&](const Tensor& whole, const Tensor& part) {
      device_->reduce_scatter(whole, rows, part);
      return std::make_unique<FinishedTransfer>();
    })->wait();
  }
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                 const Tensor& mine) override {
    return collective(all, mine, [&](const Tensor& whole, const Tensor& part) {
      return device_->start_reduce_scatter(whole, rows, part);
    });
  }
  void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    collective(all, mine, [&](const Tensor& whole, const Tensor& part) {
      device_->all_gather(part, rows, whole);
      return std::make_unique<FinishedTransfer>();
    })->wait();
  }
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    return collective(all, mine, [&](const Tensor& whole, const Tensor& part) {
      return device_->start_all_gather(part, rows, whole);
    });
  }
  void broadcast(const Tensor& x, int root) override {
    if (x.device() != Device{}) return device_->broadcast(x, root);
    const Mirror mirror = of(x);
    device_->broadcast(mirror.on_device(), root);
    mirror.bring_back();
  }
  void barrier() override { device_->barrier(); }
  ProgressEngine& progress_engine() override { return device_->progress_engine(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<MirroredCommunicator>(kernels_, device_->split(color, key));
  }

 private:
  Mirror of(const Tensor& x) const { return Mirror(*kernels_, x); }

  // Calls start(mirror of all, mirror of mine); if `mine` is rows of `all`, so are the mirrors.
  template <typename Start>
  std::unique_ptr<Transfer> collective(const Tensor& all, const Tensor& mine, Start start) const {
    auto transfer = std::make_unique<MirroredTransfer>();
    const Tensor whole = transfer->results_.emplace_back(of(all)).on_device();
    const auto inside = transfer->results_.front().rows_of(mine);
    const Tensor part = inside ? *inside : transfer->results_.emplace_back(of(mine)).on_device();
    transfer->inner_ = start(whole, part);
    return transfer;
  }

  std::shared_ptr<Kernels> kernels_;
  std::shared_ptr<Communicator> device_;
};

}  // namespace

std::shared_ptr<Communicator> make_mirrored(std::shared_ptr<Kernels> kernels, std::shared_ptr<Communicator> device) {
  return std::make_shared<MirroredCommunicator>(std::move(kernels), std::move(device));
}

}  // namespace ropewalk
