#include "parallel/cuda/staged_communicator.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <optional>
#include <utility>

#include "kernels/error.h"
#include "parallel/communicator/block_pool.h"

namespace ROPEWALK_CUDA {
namespace {

// A collective proceeds in segments of about this many bytes, over all ranks: one is copied while the host works on
// another.
constexpr int64_t kSegmentBytes = 16 << 20;

class StagedExchange;

// Shared by the groups of a rank.
struct Stage {
  explicit Stage(Runtime& device)
      : runtime(device),
        stream(device.make_stream()),
        pool([&device](int64_t bytes) { return device.allocate_pinned(bytes); },
             [&device](void* memory) { device.release_pinned(memory); }) {}

  void follow_kernels() const { runtime.follow(stream, runtime.mark(runtime.stream())); }
  Event mark() const { return runtime.mark(stream); }
  void copy(const Tensor& from, const Tensor& to) const { runtime.copy(from.raw(), to.raw(), from.bytes(), stream); }

  // Starts on the host, in order, the exchanges whose copies to the host are complete; with `all`, waits for the rest
  // and starts them too.
  void start(bool all);

  Runtime& runtime;
  Stream stream;
  // Pinned memory. All copies to and from its blocks use one stream. The host touches a block only after a copy of its
  // new owner is done; by then all earlier copies are done too.
  BlockPool pool;
  std::deque<StagedExchange*> not_started;
};

class StagedExchange final : public Transfer {
 public:
  StagedExchange(Stage& stage, Communicator& host, std::span<const Message> sends, std::span<const Message> receives)
      : stage_(stage), host_(host) {
    int64_t bytes = 0;
    for (const auto& messages : {sends, receives})
      for (const Message& message : messages) bytes += message.data.bytes();
    std::byte* at = block_.emplace(stage.pool.take(bytes)).data();
    const auto place = [&](std::span<const Message> messages, std::vector<Message>& staged) {
      for (const Message& message : messages) {
        staged.push_back({message.peer, Tensor(at, message.data.dtype(), Device{}, message.data.shape())});
        at += message.data.bytes();
      }
    };
    place(sends, sends_);
    place(receives, receives_);
    stage.follow_kernels();
    for (size_t i = 0; i < sends.size(); ++i) stage.copy(sends[i].data, sends_[i].data);
    for (const Message& message : receives) targets_.push_back(message.data);
    copied_ = stage.mark();
    stage.not_started.push_back(this);
  }

  ~StagedExchange() override {
    try {
      if (!waited_) wait();
    } catch (const Error&) {  // swallowed, as the interface says
    }
    std::erase(stage_.not_started, this);
  }

  bool needs_polling() const override { return false; }

  bool progress() override {
    stage_.start(false);
    if (inner_ && !landed_ && inner_->progress()) land();
    return landed_;
  }

  void wait() override {
    waited_ = true;
    stage_.start(true);
    if (!landed_) {
      if (!inner_) throw CommunicationError("a staged exchange was not started, because another one had failed before");
      inner_->wait();
      land();
    }
    stage_.runtime.follow(stage_.runtime.stream(), uploaded_);
  }

  const Event& copied() const { return copied_; }
  void start() { inner_ = host_.start_exchange(sends_, receives_); }

 private:
  void land() {
    landed_ = true;
    for (size_t i = 0; i < targets_.size(); ++i) stage_.copy(receives_[i].data, targets_[i]);
    uploaded_ = stage_.mark();
  }

  Stage& stage_;
  Communicator& host_;
  std::optional<BlockPool::Block> block_;
  std::vector<Message> sends_, receives_;  // in the block
  std::vector<Tensor> targets_;            // on the device, of the receives
  Event copied_, uploaded_;
  std::unique_ptr<Transfer> inner_;  // null until started; block_ must outlive it
  bool landed_ = false;              // the copies of the received data to the device are enqueued
  bool waited_ = false;
};

void Stage::start(bool all) {
  while (!not_started.empty()) {
    StagedExchange& first = *not_started.front();
    if (all)
      runtime.wait(first.copied());
    else if (!first.copied().passed())
      return;
    not_started.pop_front();
    first.start();
  }
}

// The same elements in two memories.
struct Copy {
  Tensor on_device, on_host;
};

// A segment of a collective: the host's work, and the copies before and after it.
struct Segment {
  std::vector<Copy> to_host;
  std::function<void()> on_host;
  std::vector<Copy> to_device;
};

// The elements [begin, begin + most) of every part of a partition, packed into a block of host memory.
struct Round {
  Round(int64_t first, int64_t most, const Partition& cut) : begin(first), whole(cut) {
    std::vector<int64_t> sizes;
    for (int part = 0; part < cut.parts(); ++part)
      sizes.push_back(std::clamp<int64_t>(cut.size(part) - begin, 0, most));
    here = Partition::of_sizes(sizes);
  }
  // The copy of this round's elements of a part. x holds the partitioned elements from index `first` on.
  Copy of_part(int part, const Tensor& x, int64_t first) const {
    const int64_t from = std::min(whole.begin(part) + begin, whole.end(part)) - first;
    return {x.slice(from, from + here.size(part)), block.slice(here.begin(part), here.end(part))};
  }
  std::vector<Copy> of(const Tensor& all) const {
    std::vector<Copy> copies;
    for (int part = 0; part < whole.parts(); ++part) copies.push_back(of_part(part, all, 0));
    return copies;
  }

  int64_t begin;
  Partition whole, here;
  Tensor block;
};

class StagedCommunicator final : public DeviceCommunicator {
 public:
  StagedCommunicator(std::shared_ptr<Communicator> host, std::shared_ptr<Stage> stage)
      : DeviceCommunicator(std::move(host), stage->runtime), stage_(std::move(stage)) {}

 protected:
  std::unique_ptr<Transfer> exchange_on_device(std::span<const Message> sends,
                                               std::span<const Message> receives) override {
    return std::make_unique<StagedExchange>(*stage_, host(), sends, receives);
  }

  void sum_on_device(const Tensor& x) override {
    in_rounds(Partition::of_sizes({x.elements()}), x.dtype(), [&](const Round& round) -> Segment {
      return {.to_host = round.of(x),
              .on_host = [this, all = round.block] { host().all_reduce(all, Reduction::kSum); },
              .to_device = round.of(x)};
    });
  }

  // Blocks for either need: the host moves the bytes, and would have to wait for the device in any case.
  std::unique_ptr<Transfer> reduce_scatter_on_device(Need, const Tensor& all, const Partition& cut,
                                                     const Tensor& mine) override {
    in_rounds(cut, all.dtype(), [&](const Round& round) -> Segment {
      const Copy own = round.of_part(rank(), mine, cut.begin(rank()));
      return {.to_host = round.of(all),
              .on_host = [=, this] { host().reduce_scatter(round.block, round.here, own.on_host); },
              .to_device = {own}};
    });
    return std::make_unique<FinishedTransfer>();
  }

  std::unique_ptr<Transfer> all_gather_on_device(Need, const Tensor& mine, const Partition& cut,
                                                 const Tensor& all) override {
    in_rounds(cut, all.dtype(), [&](const Round& round) -> Segment {
      const Copy own = round.of_part(rank(), mine, cut.begin(rank()));
      return {.to_host = {own},
              .on_host = [=, this] { host().all_gather(own.on_host, round.here, round.block); },
              .to_device = round.of(all)};
    });
    return std::make_unique<FinishedTransfer>();
  }

  void broadcast_on_device(const Tensor& x, int root) override {
    in_rounds(Partition::of_sizes({x.elements()}), x.dtype(), [&](const Round& round) -> Segment {
      const bool sends = rank() == root;
      return {.to_host = sends ? round.of(x) : std::vector<Copy>(),
              .on_host = [=, this] { host().broadcast(round.block, root); },
              .to_device = sends ? std::vector<Copy>() : round.of(x)};
    });
  }

  std::unique_ptr<Communicator> make_group(std::shared_ptr<Communicator> group) override {
    return std::make_unique<StagedCommunicator>(std::move(group), stage_);
  }

  void prepare_host_call() override { stage_->start(true); }

 private:
  // Calls make(round) for each round, and executes the segment that it returns. The next segment is copied to the host
  // while the host works on this one.
  template <typename Make>
  void in_rounds(const Partition& cut, DType dtype, Make make) {
    const int64_t most = std::max<int64_t>(1, kSegmentBytes / size_of(dtype) / cut.parts());
    int64_t longest = 0;
    for (int part = 0; part < cut.parts(); ++part) longest = std::max(longest, cut.size(part));
    struct Running {
      BlockPool::Block block;
      Segment segment;
      Event copied;
    };
    std::deque<Running> segments;
    const auto start = [&](int64_t begin) {
      if (begin >= longest) return;
      Round round(begin, most, cut);
      BlockPool::Block block = stage_->pool.take(round.here.total() * size_of(dtype));
      round.block = Tensor(block.data(), dtype, Device{}, {round.here.total()});
      Segment segment = make(round);
      for (const Copy& copy : segment.to_host) stage_->copy(copy.on_device, copy.on_host);
      segments.push_back({std::move(block), std::move(segment), stage_->mark()});
    };

    stage_->start(true);
    stage_->follow_kernels();
    start(0);
    for (int64_t begin = 0; begin < longest; begin += most) {
      start(begin + most);
      Running& current = segments.front();
      runtime().wait(current.copied);
      current.segment.on_host();
      for (const Copy& copy : current.segment.to_device) stage_->copy(copy.on_host, copy.on_device);
      segments.pop_front();
    }
    runtime().follow(runtime().stream(), stage_->mark());
  }

  std::shared_ptr<Stage> stage_;
};

}  // namespace

std::shared_ptr<Communicator> make_staged_world(std::shared_ptr<Communicator> host, Runtime& runtime) {
  return std::make_shared<StagedCommunicator>(std::move(host), std::make_shared<Stage>(runtime));
}

}  // namespace ROPEWALK_CUDA
