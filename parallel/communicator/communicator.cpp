#include "parallel/communicator/communicator.h"

namespace ropewalk {
namespace {

double reduced(Communicator& group, double value, Reduction reduction) {
  group.all_reduce(Tensor(&value, DType::kF64, Device{}, {1}), reduction);
  return value;
}

}  // namespace

void Communicator::reduce_scatter(const Tensor& all, const Partition& rows, const Tensor& mine) {
  start_reduce_scatter(all, rows, mine)->wait();
}

void Communicator::all_gather(const Tensor& mine, const Partition& rows, const Tensor& all) {
  start_all_gather(mine, rows, all)->wait();
}

double sum_of(Communicator& group, double value) { return reduced(group, value, Reduction::kSum); }
double maximum_of(Communicator& group, double value) { return reduced(group, value, Reduction::kMax); }
bool any_of(Communicator& group, bool value) { return maximum_of(group, value ? 1.0 : 0.0) > 0.0; }

void sum_each(Communicator& group, std::vector<double>& values) {
  group.all_reduce(Tensor(values.data(), DType::kF64, Device{}, {static_cast<int64_t>(values.size())}),
                   Reduction::kSum);
}

std::string broadcast_text(Communicator& group, const std::string& text, int root) {
  auto size = static_cast<int64_t>(text.size());
  group.broadcast(Tensor(&size, DType::kU8, Device{}, {sizeof(size)}), root);
  std::string out = text;
  out.resize(static_cast<size_t>(size));
  group.broadcast(Tensor(out.data(), DType::kU8, Device{}, {size}), root);
  return out;
}

std::vector<std::string> gather_texts(Communicator& group, const std::string& mine) {
  const auto bytes_of = [](const void* data, size_t bytes) {
    return Tensor(const_cast<void*>(data), DType::kU8, Device{}, {static_cast<int64_t>(bytes)});
  };
  const size_t ranks = group.rank() == 0 ? static_cast<size_t>(group.size()) : 0;
  std::vector<uint64_t> sizes(ranks);
  std::vector<std::string> texts(ranks);
  std::vector<Message> messages;
  const uint64_t my_size = mine.size();
  for (size_t rank = 0; rank < ranks; ++rank)
    messages.push_back({static_cast<int>(rank), bytes_of(&sizes[rank], sizeof(uint64_t))});
  group.start_exchange(std::vector<Message>{{0, bytes_of(&my_size, sizeof(uint64_t))}}, messages)->wait();

  messages.clear();
  for (size_t rank = 0; rank < ranks; ++rank) {
    texts[rank].resize(sizes[rank]);
    messages.push_back({static_cast<int>(rank), bytes_of(texts[rank].data(), texts[rank].size())});
  }
  group.start_exchange(std::vector<Message>{{0, bytes_of(mine.data(), mine.size())}}, messages)->wait();
  return texts;
}

std::optional<RankText> first_text(Communicator& group, const std::optional<std::string>& mine) {
  const int from_the_end = static_cast<int>(maximum_of(group, mine ? group.size() - group.rank() : 0));
  if (from_the_end == 0) return std::nullopt;
  const int rank = group.size() - from_the_end;
  return RankText{rank, broadcast_text(group, mine.value_or(""), rank)};
}

std::optional<std::string> first_failure(Communicator& group, const std::function<void()>& action) {
  std::optional<std::string> mine;
  try {
    action();
  } catch (const std::exception& error) {
    mine = error.what();
  }
  const std::optional<RankText> first = first_text(group, mine);
  if (!first) return std::nullopt;
  return group.size() == 1 ? first->text : fmt::format("rank {}: {}", first->rank, first->text);
}

}  // namespace ropewalk
