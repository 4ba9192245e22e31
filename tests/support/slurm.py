"""A Slurm cluster on this host: a controller, and one daemon for each of two nodes. Needs root."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

DAEMONS = ("munged", "slurmctld", "slurmd", "srun", "sbatch")


class NoSlurm(Exception):
    """Slurm cannot be started here; the message says why."""


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Slurm:
    def __init__(self, folder):
        self._folder, self._running = pathlib.Path(folder), []
        self.environment = {**os.environ, "SLURM_CONF": str(self._folder / "slurm.conf")}

    def __enter__(self):
        missing = [name for name in DAEMONS if not shutil.which(name)]
        if missing:
            raise NoSlurm(f"{', '.join(missing)} not found; launch/setup.sh slurm installs them")
        if os.geteuid() != 0:
            raise NoSlurm("only root starts its daemons")
        self._configure()
        try:
            for words in (["munged", "--foreground", "--force", f"--key-file={self._folder}/key", f"--socket={self._folder}/munge",
                           f"--pid-file={self._folder}/munged.pid", f"--log-file={self._folder}/munged.log", f"--seed-file={self._folder}/seed"],
                          ["slurmctld", "-D"], ["slurmd", "-D", "-N", "n1"], ["slurmd", "-D", "-N", "n2"]):
                self._running.append(subprocess.Popen(words, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            self._wait_for(lambda: self.ask("sinfo", "--noheader", "--states=idle", "--format=%D").strip() == "2", "two idle nodes")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for daemon in reversed(self._running):
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(20)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()

    def _configure(self):
        folder, (control, *ports) = self._folder, _free_ports(3)
        folder.chmod(0o755)  # munged refuses a socket that other users cannot reach
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        host = socket.gethostname()
        nodes = "".join(f"NodeName=n{i} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4\n" for i, port in enumerate(ports, 1))
        (folder / "slurm.conf").write_text(f"""
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
ReturnToService=2
{nodes}PartitionName=main Nodes=n1,n2 Default=YES
""")

    def _wait_for(self, condition, what, seconds=60):
        end = time.time() + seconds
        while not condition():
            if time.time() > end or any(daemon.poll() is not None for daemon in self._running):
                logs = "".join(f"\n{path.name}:\n{path.read_text()[-1000:]}" for path in sorted(self._folder.glob("*.log")))
                raise RuntimeError(f"no {what}{logs}")
            time.sleep(0.2)

    def ask(self, *words):
        """The output of a Slurm command; empty if it fails."""
        return subprocess.run(words, env=self.environment, capture_output=True, text=True, timeout=60, check=False).stdout

    def wait_for(self, job, states, seconds=120):
        """Waits until the job is in one of these states."""
        def state():
            return self.ask("squeue", "--noheader", "--states=all", "--format=%T", "--jobs", job).strip()
        self._wait_for(lambda: state() in states, f"job {job} in {states}", seconds)

    def wait_for_text(self, path, text, seconds=60):
        """Waits until the file contains the text."""
        self._wait_for(lambda: path.exists() and text in path.read_text(), f'"{text}" in {path}', seconds)
