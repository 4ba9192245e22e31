#include "tests/equivalence/faults.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace ropewalk {
namespace {

class FaultyExchange final : public Transfer {
 public:
  FaultyExchange(std::unique_ptr<Transfer> inner, const Tensor& hit, int64_t lost_elements)
      : inner_(std::move(inner)), hit_(hit), lost_elements_(std::min(lost_elements, hit.elements())) {}
  bool progress() override { return inner_->progress(); }
  void wait() override {
    inner_->wait();
    std::memset(hit_.raw(), 0, static_cast<size_t>(lost_elements_ * size_of(hit_.dtype())));
  }

 private:
  std::unique_ptr<Transfer> inner_;
  Tensor hit_;
  int64_t lost_elements_;
};

class FaultyCommunicator final : public Communicator {
 public:
  FaultyCommunicator(std::shared_ptr<Communicator> inner, std::vector<int> group, CommunicationFault& fault)
      : inner_(std::move(inner)), group_(std::move(group)), fault_(fault) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string name(int rank) const override { return inner_->name(rank); }
  int64_t bytes_sent() const override { return inner_->bytes_sent(); }

  std::unique_ptr<Transfer> start_exchange(std::span<const Message> sends, std::span<const Message> receives) override {
    auto exchange = inner_->start_exchange(sends, receives);
    if (fault_.kind != CommunicationFault::Kind::kLostMessage || group_[static_cast<size_t>(rank())] != 1)
      return exchange;
    for (const Message& message : receives) {
      if (message.data.elements() == 0 || !fault_.hits(group_, message.data) || fault_.times++ > 0) continue;
      return std::make_unique<FaultyExchange>(std::move(exchange), message.data, fault_.lost_elements);
    }
    return exchange;
  }
  void all_reduce(const Tensor& x, Reduction reduction) override {
    if (reduction == Reduction::kSum && forgets(x)) return;
    inner_->all_reduce(x, reduction);
  }
  std::unique_ptr<Transfer> start_reduce_scatter(const Tensor& all, const Partition& rows,
                                                 const Tensor& mine) override {
    if (!forgets(all)) return inner_->start_reduce_scatter(all, rows, mine);
    const Tensor own = all.slice(rows.begin(rank()), rows.end(rank()));
    std::memcpy(mine.raw(), own.raw(), static_cast<size_t>(own.bytes()));
    return std::make_unique<FinishedTransfer>();
  }
  std::unique_ptr<Transfer> start_all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) override {
    return inner_->start_all_gather(mine, rows, all);
  }
  void broadcast(const Tensor& x, int root) override { inner_->broadcast(x, root); }
  void barrier() override { inner_->barrier(); }
  ProgressEngine& progress_engine() override { return inner_->progress_engine(); }
  std::unique_ptr<Communicator> split(int color, int key) override {
    std::shared_ptr<Communicator> part = inner_->split(color, key);
    int32_t mine = group_[static_cast<size_t>(rank())];
    std::vector<int32_t> all(static_cast<size_t>(part->size()));
    part->all_gather(Tensor(&mine, DType::kI32, Device{}, {1}), Partition::even(part->size(), part->size()),
                     Tensor(all.data(), DType::kI32, Device{}, {part->size()}));
    return std::make_unique<FaultyCommunicator>(part, std::vector<int>(all.begin(), all.end()), fault_);
  }

 private:
  bool forgets(const Tensor& x) {
    if (fault_.kind != CommunicationFault::Kind::kForgottenSum || size() == 1 || !fault_.hits(group_, x)) return false;
    ++fault_.times;
    return true;
  }

  std::shared_ptr<Communicator> inner_;
  std::vector<int> group_;
  CommunicationFault& fault_;
};

}  // namespace

std::shared_ptr<Communicator> with_fault(std::shared_ptr<Communicator> world, CommunicationFault& fault) {
  std::vector<int> everyone(static_cast<size_t>(world->size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  return std::make_shared<FaultyCommunicator>(std::move(world), std::move(everyone), fault);
}

}  // namespace ropewalk
