#include "tests/trainer/data/scratch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace ropewalk {

ScratchFolder::ScratchFolder() {
  // In memory where that is possible: the writer's fsync would wait for all else that a busy disk has to do.
  const std::string memory = "/dev/shm/";
  std::string name = (::access(memory.c_str(), W_OK) == 0 ? memory : ::testing::TempDir()) + "ropewalk_data_XXXXXX";
  CHECK(::mkdtemp(name.data()) != nullptr, "cannot make {}", name);
  CHECK(::chmod(name.c_str(), 0777) == 0, "cannot open {} to all", name);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<std::string> ScratchFolder::names() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(path_))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

void write_file(const std::string& path, std::string_view bytes) {
  // Not cut to nothing and written again: file systems flush that to the disk.
  if (std::filesystem::is_regular_file(path)) std::filesystem::remove(path);
  std::ofstream file(path, std::ios::binary);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  CHECK(file.good(), "cannot write {}", path);
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  CHECK(file.good(), "cannot read {}", path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::string IndexBytes::text() const {
  return magic + bytes_of<uint64_t>({version}) + bytes_of<uint8_t>({type}) +
         bytes_of<uint64_t>({lengths.size(), documents.size()}) + bytes_of(lengths) + bytes_of(offsets) +
         bytes_of(documents);
}

AsNobody::AsNobody() {
  if (::geteuid() != 0) return;
  constexpr uid_t kNobody = 65534;
  CHECK(::seteuid(kNobody) == 0, "cannot become nobody");
  changed_ = true;
}

AsNobody::~AsNobody() {
  if (changed_ && ::seteuid(0) != 0) std::abort();
}

}  // namespace ropewalk
