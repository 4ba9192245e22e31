// Removes the files that a killed job leaves on a host: Open MPI's shared memory in /dev/shm, 4 MiB or more for each
// rank, and the folder of its launcher. Otherwise these files stay until the host reboots.
#pragma once

#include <cstdint>
#include <filesystem>

namespace ropewalk {

// Both functions return the bytes they freed. They remove only files of this user that no process, in any container,
// has open or mapped. The test is a write lease (fcntl(2), F_SETLEASE), which the kernel grants only on such a file; if
// it grants none, the file stays.

// Removes shared memory segments in `folder`.
int64_t remove_segments(const std::filesystem::path& folder = "/dev/shm");
// Removes the launchers' folders in `folder`, which belongs to this user. The folder of a live launcher always stays,
// because the launcher keeps a file in it mapped.
int64_t remove_launchers(const std::filesystem::path& folder);

}  // namespace ropewalk
