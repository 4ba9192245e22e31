"""The documented line for several hosts, over network namespaces that act as hosts: own network, own host name, TCP between them,
joined by launch/hosts_agent.sh. What they compute is what one host computes, to the bit."""
import os
import pathlib
import subprocess
import sys

from program import MPIRUN, PROGRAM, ROOT, Result, expect, main, metrics, ranks

SKIPPED = 77
# Short and our own, so that two tests at once, and leftovers, do not meet.
HOSTS = [f"rw{os.getpid() % 100000}{letter}" for letter in "ab"]
BRIDGE = f"rw{os.getpid() % 100000}"
NETWORK = f"10.{200 + os.getpid() % 50}.{os.getpid() // 50 % 250}"


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


def make_hosts():
    """A bridge of this machine with a cable to each host."""
    ip("link", "add", BRIDGE, "type", "bridge")
    ip("addr", "add", f"{NETWORK}.254/24", "dev", BRIDGE)
    ip("link", "set", BRIDGE, "up")
    for number, host in enumerate(HOSTS, 1):
        ip("netns", "add", host)
        ip("link", "add", f"{host}0", "type", "veth", "peer", "name", "eth0", "netns", host)
        ip("link", "set", f"{host}0", "master", BRIDGE, "up")
        ip("-n", host, "addr", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
        ip("-n", host, "link", "set", "lo", "up")
        ip("-n", host, "link", "set", "eth0", "up")


def remove_hosts():
    for words in (["netns", "del", HOSTS[0]], ["netns", "del", HOSTS[1]], ["link", "del", BRIDGE]):
        subprocess.run(["ip", *words], capture_output=True, check=False)


def bytes_from(host):
    """What the host has sent over its cable."""
    return int(pathlib.Path(f"/sys/class/net/{host}0/statistics/rx_bytes").read_text())


def two_hosts_compute_what_one_does(folder):
    """Context 2 across the hosts, tensor 2 inside each."""
    mesh = ["--set", "parallel.context_parallel=2", "--set", "parallel.tensor_parallel=2"]
    before = [bytes_from(host) for host in HOSTS]
    (folder / "hosts").write_text("".join(f"{host} slots=2\n" for host in HOSTS))
    words = [*MPIRUN, "--quiet", "-n", "4", "--hostfile", "hosts", "--map-by", "slot",
             "--mca", "plm_rsh_agent", str(ROOT / "launch/hosts_agent.sh"),
             "--mca", "btl_tcp_if_include", f"{NETWORK}.0/24", "--mca", "oob_tcp_if_include", f"{NETWORK}.0/24",
             PROGRAM, "train", "tiny.textproto", *mesh]
    result = Result(subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=90, check=False))
    expect(result.code == 0 and f"4 ranks on 2 hosts ({HOSTS[0]} x2, {HOSTS[1]} x2)" in result.err, result)
    # Each host sends the other the gradients of 12,000 weights, 4 bytes each, in each of the 6 steps.
    for host, sent in zip(HOSTS, before):
        expect(bytes_from(host) - sent > 6 * 12_000 * 4 // 2, (host, sent, bytes_from(host)))
    one = ranks(4, "train", "tiny.textproto", *mesh, "--set", "output.directory=one", cwd=folder)
    expect(one.code == 0 and "on 1 host" in one.err, one)
    expect(metrics(folder) == metrics(folder, "one") and len(metrics(folder)) == 6, (metrics(folder), metrics(folder, "one")))


if __name__ == "__main__":
    if os.geteuid() != 0:
        print("skipped: only root makes network namespaces")
        sys.exit(SKIPPED)
    try:
        make_hosts()
    except (OSError, subprocess.CalledProcessError) as error:
        remove_hosts()
        print(f"skipped: no network namespaces here: {error} {getattr(error, 'stderr', '')}")
        sys.exit(SKIPPED)
    try:
        sys.exit(main([two_hosts_compute_what_one_does]))
    finally:
        remove_hosts()
