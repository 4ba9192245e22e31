#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace ropewalk {

// All files of a directory, also of its folders.
std::vector<std::filesystem::path> files_of(const std::filesystem::path& directory);

// Flips one bit in every `stride`-th byte of every file of a directory, and expects each flip to be refused. refusal():
// the message with which the directory is refused, empty if it is not. Returns the number of flips.
int64_t flip_bits(const std::filesystem::path& directory, size_t stride, const std::function<std::string()>& refusal);

}  // namespace ropewalk
