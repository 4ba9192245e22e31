"""The processes of a job's ranks on this host."""
import os
import pathlib


def pids_of_ranks(launcher, program):
    """Rank -> process id, in order of rank, of the ranks that already run `program`; launcher: process id of their mpirun."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent != launcher or os.readlink(path / "exe") != program:
                continue
            variables = (path / "environ").read_bytes().split(b"\0")
        except OSError:  # the process has ended meanwhile
            continue
        for variable in variables:
            if variable.startswith(b"OMPI_COMM_WORLD_RANK="):
                found[int(variable.split(b"=")[1])] = int(path.name)
    return dict(sorted(found.items()))
