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

  // `part`, which may be rows of the host's tensor: then of this mirror.
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

class MirroredExchange final : public Exchange {
 public:
  MirroredExchange(Kernels& kernels, Communicator& device, std::span<const Message> sends,
                   std::span<const Message> receives) {
    std::vector<Message> sent, received;
    for (const Message& message : sends)
      sent.push_back({message.peer, sends_.emplace_back(kernels, message.data).on_device()});
    for (const Message& message : receives)
      received.push_back({message.peer, receives_.emplace_back(kernels, message.data).on_device()});
    inner_ = device.start_exchange(sent, received);
  }
  ~MirroredExchange() override {
    try {
      wait();
    } catch (const Error&) {
    }
  }
  bool progress() override { return inner_->progress(); }
  bool needs_driving() const override { return inner_->needs_driving(); }
  void wait() override {
    if (std::exchange(waited_, true)) return;
    inner_->wait();
    for (const Mirror& mirror : receives_) mirror.bring_back();
  }

 private:
  std::vector<Mirror> sends_, receives_;
  std::unique_ptr<Exchange> inner_;
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

  std::unique_ptr<Exchange> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    return std::make_unique<MirroredExchange>(*kernels_, *device_, sends, receives);
  }
  void all_reduce(const Tensor& x, Reduction reduction) override {
    if (reduction == Reduction::kMax) return device_->all_reduce(x, reduction);  // of the host
    const Mirror mirror = of(x);
    device_->all_reduce(mirror.on_device(), reduction);
    mirror.bring_back();
  }
  void reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) override {
    const Mirror whole = of(all), apart = of(mine);
    const auto inside = whole.rows_of(mine);
    device_->reduce_scatter(whole.on_device(), rows, inside.value_or(apart.on_device()));
    whole.bring_back();
    if (!inside) apart.bring_back();
  }
  void all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    const Mirror whole = of(all), apart = of(mine);
    device_->all_gather(whole.rows_of(mine).value_or(apart.on_device()), rows, whole.on_device());
    whole.bring_back();
  }
  void broadcast(const Tensor& x, int root) override {
    if (x.device() != Device{}) return device_->broadcast(x, root);
    const Mirror mirror = of(x);
    device_->broadcast(mirror.on_device(), root);
    mirror.bring_back();
  }
  void barrier() override { device_->barrier(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<MirroredCommunicator>(kernels_, device_->split(color, key));
  }

 private:
  Mirror of(const Tensor& x) const { return Mirror(*kernels_, x); }

  std::shared_ptr<Kernels> kernels_;
  std::shared_ptr<Communicator> device_;
};

}  // namespace

std::shared_ptr<Communicator> make_mirrored(std::shared_ptr<Kernels> kernels, std::shared_ptr<Communicator> device) {
  return std::make_shared<MirroredCommunicator>(std::move(kernels), std::move(device));
}

}  // namespace ropewalk
