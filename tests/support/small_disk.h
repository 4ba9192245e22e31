#pragma once

#include <sys/mount.h>

#include <filesystem>
#include <string>

namespace ropewalk {

// A small disk that is mounted at a directory while this object lives.
class SmallDisk {
 public:
  // size: "96k"
  SmallDisk(std::filesystem::path at, const std::string& size)
      : at_(std::move(at)), mounted_(mount("tmpfs", at_.c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0) {}
  ~SmallDisk() {
    if (mounted_) umount2(at_.c_str(), MNT_DETACH);
  }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;
  bool mounted() const { return mounted_; }  // only root can mount

 private:
  std::filesystem::path at_;
  bool mounted_;
};

}  // namespace ropewalk
