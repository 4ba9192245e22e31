#include "trainer/checkpoint/agreement.h"

namespace ropewalk {

std::optional<std::string> first_failure(Communicator& world, const std::function<void()>& work) {
  std::optional<std::string> mine;
  try {
    work();
  } catch (const std::exception& error) {
    mine = world.size() == 1 ? error.what() : fmt::format("rank {}: {}", world.rank(), error.what());
  }
  const int from_the_end = static_cast<int>(maximum_of(world, mine ? world.size() - world.rank() : 0));
  if (from_the_end == 0) return std::nullopt;
  return broadcast_text(world, mine.value_or(""), world.size() - from_the_end);
}

void all_or_none(Communicator& world, const std::function<void()>& work) {
  if (const std::optional<std::string> failure = first_failure(world, work)) throw CheckpointError(*failure);
}

std::string broadcast_text(Communicator& world, const std::string& text, int root) {
  std::vector<uint8_t> bytes(text.begin(), text.end());
  broadcast_bytes(world, bytes, root);
  return std::string(bytes.begin(), bytes.end());
}

std::vector<std::string> gather_texts(Communicator& world, const std::string& mine) {
  const auto bytes_of = [](const void* data, size_t bytes) {
    return Tensor(const_cast<void*>(data), DType::kU8, Device{}, {static_cast<int64_t>(bytes)});
  };
  const size_t ranks = world.rank() == 0 ? static_cast<size_t>(world.size()) : 0;
  std::vector<uint64_t> sizes(ranks);
  std::vector<std::string> texts(ranks);
  std::vector<Message> messages;
  const uint64_t my_size = mine.size();
  for (size_t rank = 0; rank < ranks; ++rank) {
    messages.push_back({static_cast<int>(rank), bytes_of(&sizes[rank], sizeof(uint64_t))});
  }
  world.start_exchange(std::vector<Message>{{0, bytes_of(&my_size, sizeof(uint64_t))}}, messages)->wait();

  messages.clear();
  for (size_t rank = 0; rank < ranks; ++rank) {
    texts[rank].resize(sizes[rank]);
    messages.push_back({static_cast<int>(rank), bytes_of(texts[rank].data(), texts[rank].size())});
  }
  world.start_exchange(std::vector<Message>{{0, bytes_of(mine.data(), mine.size())}}, messages)->wait();
  return texts;
}

}  // namespace ropewalk
