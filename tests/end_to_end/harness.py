"""Starts ropewalk under mpirun on a small model and text, and reads the files of its runs."""
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from processes import pids_of_ranks  # noqa: E402

# The program is the first argument of every script here, before those of unittest or the script's own.
HAS_PROGRAM = __name__ != "__main__" and len(sys.argv) > 1 and not sys.argv[1].startswith("-")
ROPEWALK = os.path.abspath(sys.argv.pop(1)) if HAS_PROGRAM else "ropewalk"
if {"-h", "--help"} & set(sys.argv[1:2]):
    print(f"{sys.modules['__main__'].__doc__}\n\n    python3 {sys.argv[0]} PROGRAM [OPTION]...      PROGRAM: build/release/ropewalk\n")

CONFIG = """
model {
  layers: 4 width: 32 hidden: 48 query_heads: 4 key_heads: 2 head_size: 8 vocabulary: 257
  pattern { mask: SLIDING window: 9 position: ROPE theta: 10000 }
  pattern { mask: FULL position: NONE qk_norm: LAYER_NORM }
}
data { prefix: "text" sequence_length: 60 }
training { steps: 12 batch: 4 learning_rate: 1e-2 warmup_steps: 3 }
validation { interval: 4 samples: 5 sample_tokens: 8 sample_interval: 6 }
checkpoint { interval: 4 keep: 2 }
output { directory: "run" log_interval: 1 }
"""

# Members of the metrics that are measured, so they differ between runs with the same bits.
MEASURED = {"time", "seconds", "tokens_per_second", "model_flops_per_second", "model_flops_utilization", "bytes_sent",
            "peak_memory_bytes", "seconds_remaining", "validation_seconds"}


def text(words, seed):
    draw = random.Random(seed)
    vocabulary = ["rope", "walk", "halo", "ring", "chunk", "the", "a", "lays", "window", "strand"]
    return " ".join(draw.choice(vocabulary) for _ in range(words)) + "\n"


def environment():
    return {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


# These signals may be ignored if the tests were started by nohup or in a script's background, and the programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


class RopewalkTest(unittest.TestCase):
    """A test with its own directory, which has text.bin, text.idx and config.textproto."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="ropewalk-test-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)
        lines = [json.dumps({"text": text(40, seed)}) for seed in range(60)]
        (self.directory / "text.jsonl").write_text("\n".join(lines) + "\n")
        (self.directory / "config.textproto").write_text(CONFIG)
        self.check(self.start(0, ["prepare", "--input", "text.jsonl", "--output", "text"]))

    def start(self, ranks, arguments, mpirun=(), variables=None):
        """Starts the program on `ranks` ranks; 0: one process without mpirun."""
        launcher = [] if ranks == 0 else [
            "mpirun", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", "--mca", "btl", "self,vader",
            *mpirun, "-n", str(ranks)]
        # To a file: a pipe that is read only after the job would fill up and block it.
        output = tempfile.TemporaryFile(dir=self.directory)
        self.addCleanup(output.close)
        process = subprocess.Popen([*launcher, ROPEWALK, *arguments], cwd=self.directory, env={**environment(), **(variables or {})}, stdout=output,
                                   stderr=subprocess.STDOUT)
        process.output = output
        return process

    def train(self, ranks, *settings, mpirun=(), options=(), variables=None):
        sets = [argument for setting in settings for argument in ("--set", setting)]
        return self.start(ranks, ["train", "config.textproto", *options, *sets], mpirun, variables)

    def finish(self, process, timeout=120):
        """Waits for the process; returns (exit code, output)."""
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            self.fail(f"still running after {timeout} s:\n{self.output_of(process)}")
        return process.returncode, self.output_of(process)

    def output_of(self, process):
        """The output so far. Opens the file again, because the process shares the offset of the descriptor that it inherited."""
        with open(f"/proc/self/fd/{process.output.fileno()}", "rb") as file:
            return file.read().decode(errors="replace")

    def check(self, process, code=0):
        got, output = self.finish(process)
        self.assertEqual(got, code, output)
        return output

    def metrics(self, run="run"):
        return [json.loads(line) for line in (self.directory / run / "metrics.jsonl").read_text().splitlines()]

    def numbers(self, run="run"):
        """The metrics without measured values: they must be the same in every run."""
        return [{key: value for key, value in line.items() if key not in MEASURED} for line in self.metrics(run)]

    def wait_for_step(self, step, process, run="run", timeout=60, may_end=False):
        """Waits until the run has made the step. may_end: the process may exit with 0 before."""
        end = time.time() + timeout
        while time.time() < end and process.poll() is None:
            try:
                if self.metrics(run)[-1]["step"] >= step:
                    return
            except (OSError, IndexError, ValueError):
                pass
            time.sleep(0.02)
        if may_end and process.poll() == 0:
            return
        process.kill()
        self.fail(f"no step {step}:\n{self.output_of(process)}")

    def checkpoint(self, step, run="run"):
        return self.directory / run / "checkpoints" / f"step-{step:08d}"

    def tensors(self, step, run="run"):
        """File name -> contents, of the tensor files of a checkpoint."""
        return {path.name: path.read_bytes() for path in self.checkpoint(step, run).glob("*.safetensors")}

    def rank_pids(self, process):
        """The process ids of a job's ranks, in order of rank."""
        return list(pids_of_ranks(process.pid, ROPEWALK).values())

    def mount_tmpfs(self, options):
        """Mounts a tmpfs at small/; skips the test if that is not possible."""
        mounted = self.directory / "small"
        mounted.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], capture_output=True).returncode:
            self.skipTest("needs root and tmpfs")
        self.addCleanup(subprocess.run, ["umount", mounted])
        return mounted
