// Lists the files that --input names: walks folders, follows links.
#include <algorithm>
#include <filesystem>
#include <map>
#include <utility>

#include "kernels/error.h"
#include "trainer/data/documents.h"
#include "trainer/files/file_system.h"
#include "trainer/text/format.h"

namespace ropewalk {
namespace {

namespace fs = std::filesystem;

std::string shown(const fs::path& path) { return printable_name(path.string()); }

bool is_hidden(const fs::path& path) { return path.filename().string().starts_with('.'); }

[[noreturn]] void fail(const char* what, const fs::path& path, const std::error_code& error) {
  throw_file_error(FileOwner::kData, what, path, error.value());
}

// The path without links. Throws DataError if it does not exist or is a broken link.
fs::path real_path(const fs::path& path) {
  std::error_code error, no_link;
  fs::path real = fs::canonical(path, error);
  if (!error) return real;
  const fs::path target = fs::read_symlink(path, no_link);
  throw DataError(
      fmt::format("cannot read {}: {}; {}", shown(path), error.message(),
                  no_link ? "check the path" : fmt::format("it is a link to {}: correct or remove it", shown(target))));
}

// All files below a folder. Files and folders come before links, and links come in order, so if several paths lead to a
// file, the same path is always taken. A second path to a file or folder is not followed, so the walk ends.
class FolderWalk {
 public:
  FolderWalk(const fs::path& folder, LeftOut& left_out) : left_out_(left_out) {
    add_folder(folder, real_path(folder));
    while (!links_.empty()) {
      std::vector<fs::path> links = std::exchange(links_, {});
      std::sort(links.begin(), links.end());
      for (const fs::path& link : links) add(link, real_path(link));
    }
    std::sort(files_.begin(), files_.end());
  }

  std::vector<std::string> files() const { return {files_.begin(), files_.end()}; }

 private:
  void add(const fs::path& path, const fs::path& real) {
    std::error_code error;
    const fs::file_type type = fs::status(real, error).type();
    if (error) fail("read", path, error);
    if (type == fs::file_type::directory) {
      add_folder(path, real);
    } else if (type != fs::file_type::regular) {
      left_out_.add(fmt::format("{} is no regular file", shown(path)));
    } else if (is_new(path, real)) {
      files_.push_back(path);
    }
  }

  // Not fs::recursive_directory_iterator, which does not say which folder it could not open.
  void add_folder(const fs::path& folder, const fs::path& real) {
    if (!is_new(folder, real)) return;
    std::error_code error;
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
      const fs::path& path = entry->path();
      std::error_code unknown;
      if (is_hidden(path)) continue;
      if (entry->is_symlink(unknown)) {
        links_.push_back(path);
      } else {
        add(path, real / path.filename());
      }
    }
    if (error) fail("list", folder, error);
  }

  bool is_new(const fs::path& path, const fs::path& real) {
    const auto [first, added] = taken_.emplace(real, path);
    if (!added)
      left_out_.add(fmt::format("{} is the same as {}, which is read already", shown(path), shown(first->second)));
    return added;
  }

  LeftOut& left_out_;
  std::map<fs::path, fs::path> taken_;  // files and folders: their path without links -> the path taken to them
  std::vector<fs::path> files_, links_;
};

}  // namespace

void LeftOut::add(const std::string& message) {
  if (++count <= static_cast<int64_t>(kMessagesKept)) messages.push_back(message);
}

InputFiles list_input_files(const std::vector<std::string>& inputs) {
  InputFiles out;
  for (const std::string& input : inputs) {
    if (input.empty()) throw ConfigurationError("the name of an --input is empty; name a file or a folder");
    if (input == "-") {
      out.files.push_back("/dev/stdin");
      continue;
    }
    std::error_code error;
    const fs::file_status status = fs::status(input, error);
    if (!fs::exists(status)) real_path(input);
    if (!fs::is_directory(status)) {
      out.files.push_back(input);
      continue;
    }
    const std::vector<std::string> below = FolderWalk(input, out.left_out).files();
    if (below.empty())
      throw DataError(fmt::format("{} is a folder without files; name one that has text", printable_name(input)));
    out.files.insert(out.files.end(), below.begin(), below.end());
  }
  return out;
}

}  // namespace ropewalk
