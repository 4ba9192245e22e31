"""Open MPI's files in shared memory: those of killed jobs are removed, those of live jobs never; too little space is an error."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys

from program import MPIRUN, PROGRAM, Result, expect, main, metrics, ranks, ranks_of, running_job

PAIR = ["--set", "parallel.context_parallel=2"]


def segments_of(job):
    """The segments that the job's ranks have mapped."""
    maps = "".join(pathlib.Path(f"/proc/{process}/maps").read_text() for process in ranks_of(job).values())
    return {pathlib.Path(path) for path in re.findall(r"/dev/shm/vader_segment\.\S+", maps)}


def what_a_killed_job_leaves_is_removed(folder):
    """The next job removes the files of a killed job, but not those that a third job is using."""
    killed = running_job(folder, 2, *PAIR)
    left = segments_of(killed)
    processes = [killed.pid, *ranks_of(killed).values()]
    for process in processes:
        with contextlib.suppress(ProcessLookupError):  # mpirun may have ended its ranks before
            os.kill(process, signal.SIGKILL)
    killed.communicate()
    expect(len(left) == 2 and all(path.exists() for path in left), left)
    (folder / "run/metrics.jsonl").unlink()

    alive = running_job(folder, 2, *PAIR)
    used = segments_of(alive)
    expect(not any(path.exists() for path in left), left)
    result = ranks(2, "train", "tiny.textproto", *PAIR, "--set", "output.directory=next", cwd=folder)
    expect(result.code == 0 and all(path.exists() for path in used), result)
    for process in ranks_of(alive).values():
        os.kill(process, signal.SIGUSR1)
    said = alive.communicate(timeout=60)[1]
    expect(alive.returncode == 85 and re.search(r"removed \S+ [KM]iB on \S+ that killed jobs of this user had left in /dev/shm and /\S+", said), said)


def too_little_shared_memory_is_told(folder):
    """The error comes before MPI_Init, which would abort. Over the network the job runs."""
    small = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=256k tmpfs /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*small, "true"], capture_output=True, check=False).returncode:
        print("skipped: too little shared memory, because /dev/shm cannot be mounted here")
        return

    def job(*options):
        words = [*small, *MPIRUN, "--quiet", *options, "-n", "2", PROGRAM, "train", "tiny.textproto", *PAIR]
        return Result(subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=60, check=False))
    result = job()
    expect(result.code == 2 and result.err.count("/dev/shm has 256 KiB left") == 1 and "MPI_Init" not in result.err, result)
    result = job("--mca", "btl", "self,tcp")
    expect(result.code == 0 and len(metrics(folder)) == 6, result)


if __name__ == "__main__":
    sys.exit(main([what_a_killed_job_leaves_is_removed, too_little_shared_memory_is_told]))
