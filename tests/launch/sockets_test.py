"""The ranks of a job on one host open no socket that another machine could reach."""
import os
import pathlib
import signal
import subprocess
import sys

from program import MPIRUN, PROGRAM, expect, main, metrics, ranks_of, run, running_job

LOOPBACK = {"tcp": ("0100007F",), "udp": ("0100007F",),
            "tcp6": ("00000000000000000000000001000000", "0000000000000000FFFF00000100007F")}
LOOPBACK["udp6"] = LOOPBACK["tcp6"]


def reachable_sockets(process):
    """The sockets of a process that are bound to more than loopback, as lines of /proc/PID/net."""
    files = pathlib.Path(f"/proc/{process}")
    own = {os.readlink(link) for link in (files / "fd").iterdir()}
    found = []
    for protocol, loopback in LOOPBACK.items():
        for line in (files / "net" / protocol).read_text().splitlines()[1:]:
            words = line.split()
            if f"socket:[{words[9]}]" in own and words[1].split(":")[0] not in loopback:
                found.append((protocol, line))
    return found


def sockets_of_a_running_job(folder, *options):
    """The reachable sockets of each rank."""
    job = running_job(folder, 2, "--set", "parallel.context_parallel=2", options=options)
    found = [reachable_sockets(process) for process in ranks_of(job).values()]
    job.send_signal(signal.SIGUSR1)
    said = job.communicate(timeout=60)[1]
    expect(job.returncode == 85 and len(found) == 2, (job.returncode, found, said))
    (folder / "run/metrics.jsonl").unlink()
    return found


def a_job_of_one_host_is_off_the_network(folder):
    """No option is needed. A transport that the user chooses is respected; this also shows that the test detects sockets."""
    expect(sockets_of_a_running_job(folder) == [[], []], "sockets")
    chosen = sockets_of_a_running_job(folder, "--mca", "btl", "self,vader,tcp")
    expect(all(any(" 0A " in line for _, line in rank) for rank in chosen), chosen)


def a_job_runs_in_a_network_of_its_own(folder):
    """In its own network namespace, where mpirun cannot be reached either."""
    alone = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        print("skipped: a network namespace cannot be created here")
        return
    result = run(*alone, *MPIRUN, "-n", "2", PROGRAM, "train", "tiny.textproto", "--set", "parallel.context_parallel=2", cwd=folder)
    expect(result.code == 0 and len(metrics(folder)) == 6, result)


if __name__ == "__main__":
    sys.exit(main([a_job_of_one_host_is_off_the_network, a_job_runs_in_a_network_of_its_own]))
