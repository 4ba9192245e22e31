"""The documented mpirun command for several hosts. Network namespaces act as hosts, each with its own network and host name, and
launch/hosts_agent.sh takes the place of ssh. The results have the same bits as on one host."""
import subprocess
import sys

from program import MPIRUN, PROGRAM, ROOT, Result, expect, main, metrics, ranks

sys.path.append(str(ROOT / "tests/support"))
from hosts import NoHosts, TwoHosts  # noqa: E402

SKIPPED = 77


def two_hosts_compute_what_one_does(folder):
    """Context parallel 2 across the hosts, tensor parallel 2 within each."""
    mesh = ["--set", "parallel.context_parallel=2", "--set", "parallel.tensor_parallel=2"]
    first, second = hosts.names
    before = [hosts.bytes_from(host) for host in hosts.names]
    words = [*MPIRUN, "--quiet", *hosts.mpirun_options(folder), PROGRAM, "train", "tiny.textproto", *mesh]
    result = Result(subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=90, check=False))
    expect(result.code == 0 and f"4 ranks on 2 hosts ({first} x2, {second} x2)" in result.err, result)
    # Each host sends the other the gradients of 12,000 weights, 4 bytes each, in each of the 6 steps.
    for host, sent in zip(hosts.names, before):
        expect(hosts.bytes_from(host) - sent > 6 * 12_000 * 4 // 2, (host, sent, hosts.bytes_from(host)))
    one = ranks(4, "train", "tiny.textproto", *mesh, "--set", "output.directory=one", cwd=folder)
    expect(one.code == 0 and "on 1 host" in one.err, one)
    expect(metrics(folder) == metrics(folder, "one") and len(metrics(folder)) == 6, (metrics(folder), metrics(folder, "one")))


if __name__ == "__main__":
    try:
        with TwoHosts(slots=2) as hosts:
            sys.exit(main([two_hosts_compute_what_one_does]))
    except NoHosts as reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
