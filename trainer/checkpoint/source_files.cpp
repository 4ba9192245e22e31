#include "trainer/checkpoint/source_files.h"

#include <set>

#include "trainer/files/crc32c.h"
#include "trainer/files/input_file.h"
#include "trainer/files/output_file.h"
#include "trainer/text/format.h"

namespace ropewalk {

void write_files(FileSystem& system, const std::filesystem::path& root, std::span<const SourceFile> files) {
  std::set<std::filesystem::path> folders;
  for (const SourceFile& file : files)
    if (const auto folder = (root / file.name).parent_path(); folder != root) folders.insert(folder);
  for (const std::filesystem::path& folder : folders) make_directory(system, folder);
  for (const SourceFile& file : files) create_file(system, root / file.name, file.bytes);
  for (const std::filesystem::path& folder : folders) sync_directory(system, folder);
}

std::vector<ManifestSourceFile> write_source_files(FileSystem& system, const std::filesystem::path& checkpoint,
                                                   std::span<const SourceFile> files) {
  std::vector<ManifestSourceFile> entries;
  if (files.empty()) return entries;
  const std::filesystem::path root = checkpoint / kSourceFolder;
  make_directory(system, root);
  write_files(system, root, files);
  sync_directory(system, root);
  for (const SourceFile& file : files)
    entries.push_back({file.name, static_cast<int64_t>(file.bytes.size()), crc32c(file.bytes)});
  return entries;
}

std::vector<SourceFile> read_source_files(FileSystem& system, const std::filesystem::path& checkpoint,
                                          std::span<const ManifestSourceFile> entries) {
  std::vector<SourceFile> files;
  for (const ManifestSourceFile& entry : entries) {
    const std::filesystem::path path = checkpoint / kSourceFolder / entry.name;
    files.push_back({entry.name, read_text(system, path, entry.bytes)});
    if (crc32c(files.back().bytes) != entry.crc32c)
      throw CheckpointError(fmt::format("{} is not the file that the manifest describes", path.string()));
  }
  return files;
}

void remove_source_files(FileSystem& system, const std::filesystem::path& checkpoint) {
  const std::filesystem::path root = checkpoint / kSourceFolder;
  if (kind_of(root) != PathKind::kDirectory) return;
  for (const std::string& name : list_directory(root))
    if (kind_of(root / name) == PathKind::kDirectory) remove_directory(system, root / name);
  remove_directory(system, root);
}

}  // namespace ropewalk
