"""Which sockets the ranks of a job on one host have open: none that another machine could reach."""
import os
import pathlib
import signal
import subprocess
import sys
import time

from program import MPIRUN, PROGRAM, expect, main

TRAIN = ["train", "tiny.textproto", "--set", "training.steps=100000", "--set", "checkpoint.interval=0", "--set", "validation.interval=0"]
LOOPBACK = {"tcp": ("0100007F",), "udp": ("0100007F",),
            "tcp6": ("00000000000000000000000001000000", "0000000000000000FFFF00000100007F")}
LOOPBACK["udp6"] = LOOPBACK["tcp6"]


def ranks_of(job):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if parent == job.pid and os.readlink(path / "exe") == PROGRAM:
                found.append(path)
        except OSError:
            pass
    return found


def reachable_sockets(rank):
    """Those of the process that are bound beyond loopback, as the kernel writes them."""
    own = {os.readlink(link) for link in (rank / "fd").iterdir()}
    found = []
    for protocol, loopback in LOOPBACK.items():
        for line in (rank / "net" / protocol).read_text().splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" in own and words[1].split(":")[0] not in loopback:
                found.append((protocol, line))
    return found


def sockets_of_a_running_job(folder, *options):
    """By rank."""
    job = subprocess.Popen([*MPIRUN, "--quiet", *options, "-n", "2", PROGRAM, *TRAIN, "--set", "parallel.context_parallel=2"], cwd=folder,
                           stderr=subprocess.PIPE, text=True)
    told, end = folder / "run/metrics.jsonl", time.time() + 60
    while not (told.exists() and told.stat().st_size) and job.poll() is None and time.time() < end:
        time.sleep(0.05)
    found = [reachable_sockets(rank) for rank in ranks_of(job)]
    job.send_signal(signal.SIGUSR1)
    said = job.communicate(timeout=60)[1]
    expect(job.returncode == 85 and len(found) == 2, (job.returncode, found, said))
    told.unlink()
    return found


def a_job_of_one_host_is_off_the_network(folder):
    """Without a flag; a choice of the user's own is left to him, and shows that this test sees sockets."""
    expect(sockets_of_a_running_job(folder) == [[], []], "sockets")
    chosen = sockets_of_a_running_job(folder, "--mca", "btl", "self,vader,tcp")
    expect(all(any(" 0A " in line for _, line in rank) for rank in chosen), chosen)


if __name__ == "__main__":
    sys.exit(main([a_job_of_one_host_is_off_the_network]))
