"""Network namespaces of this machine that act as hosts: each has its own network, and a bridge joins them. Needs root."""
import os
import pathlib
import subprocess

AGENT = pathlib.Path(__file__).resolve().parents[2] / "launch/hosts_agent.sh"


class NoHosts(Exception):
    """Network namespaces cannot be created here; the message says why."""


def _run(*words):
    return subprocess.run(words, capture_output=True, text=True, check=True)


class TwoHosts:
    """Two hosts. Their names contain the process id, so that concurrent tests and leftovers do not collide."""

    def __init__(self, slots, rate=None):
        """slots: ranks on each host; rate: limit on what each host sends, in tc's notation ("1gbit")."""
        number = os.getpid()
        self.names = [f"rw{number % 100000}{letter}" for letter in "ab"]
        self.slots, self.rate = slots, rate
        self._bridge = f"rw{number % 100000}"
        self._network = f"10.{200 + number % 50}.{number // 50 % 250}"

    def __enter__(self):
        if os.geteuid() != 0:
            raise NoHosts("only root makes network namespaces")
        try:
            self._make()
        except (OSError, subprocess.CalledProcessError) as error:
            self._remove()
            raise NoHosts(f"no network namespaces here: {error} {getattr(error, 'stderr', '')}") from error
        return self

    def __exit__(self, *_):
        self._remove()

    def _make(self):
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self._network}.254/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for number, name in enumerate(self.names, 1):
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", f"{name}0", "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "link", "set", f"{name}0", "master", self._bridge, "up")
            _run("ip", "-n", name, "addr", "add", f"{self._network}.{number}/24", "dev", "eth0")
            _run("ip", "-n", name, "link", "set", "lo", "up")
            _run("ip", "-n", name, "link", "set", "eth0", "up")
            if self.rate:
                _run("ip", "netns", "exec", name, "tc", "qdisc", "add", "dev", "eth0", "root",
                     "tbf", "rate", self.rate, "burst", "256kb", "latency", "100ms")

    def _remove(self):
        for words in (["netns", "del", self.names[0]], ["netns", "del", self.names[1]], ["link", "del", self._bridge]):
            subprocess.run(["ip", *words], capture_output=True, check=False)

    def mpirun_options(self, folder):
        """Options for as many ranks as there are slots; writes the hostfile into the folder."""
        hostfile = folder / "hosts"
        hostfile.write_text("".join(f"{name} slots={self.slots}\n" for name in self.names))
        return ["-n", str(2 * self.slots), "--hostfile", str(hostfile), "--map-by", "slot", "--mca", "plm_rsh_agent", str(AGENT),
                "--mca", "btl_tcp_if_include", f"{self._network}.0/24", "--mca", "oob_tcp_if_include", f"{self._network}.0/24"]

    def bytes_from(self, name):
        """Bytes that a host has sent over its network."""
        return int(pathlib.Path(f"/sys/class/net/{name}0/statistics/rx_bytes").read_text())
