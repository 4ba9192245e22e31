// What a job leaves on a host when it is killed: Open MPI's shared memory in /dev/shm, 4 MiB and more of each rank, and
// the folder of its launcher. Nobody else removes it before the host starts again.
#pragma once

#include <cstdint>
#include <filesystem>

namespace ropewalk {

// Both return the bytes they freed. They remove files of this user that no process, in any container, has open or
// mapped: of such a file the kernel gives a lease (fcntl(2), F_SETLEASE). Where it gives none, all is left.

// Segments in `folder`.
int64_t remove_segments(const std::filesystem::path& folder = "/dev/shm");
// Folders of launchers in `folder`, which is the user's own. One whose launcher lives is in use: it shares files of it
// with its ranks.
int64_t remove_launchers(const std::filesystem::path& folder);

}  // namespace ropewalk
