"""Helpers for tests of the program: run it, alone and under mpirun, on a model that trains in a second."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from processes import pids_of_ranks  # noqa: E402

PROGRAM, ROOT = str(pathlib.Path(sys.argv[1]).resolve()), pathlib.Path(sys.argv[2])
MPIRUN = sys.argv[3:]
# These signals may be ignored if the tests were started by nohup or in a script's background, and the programs would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

JOBS = []  # jobs started by the current test; they are killed when it ends

CONFIG = """
model {
  layers: 4 width: 32 hidden: 48 query_heads: 4 key_heads: 2 head_size: 8 vocabulary: 257
  pattern { mask: SLIDING window: 12 position: ROPE theta: 10000 }
  pattern { mask: SLIDING window: 12 position: ROPE theta: 10000 }
  pattern { mask: SLIDING window: 12 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 64 }
training { steps: 6 batch: 2 }
validation { interval: 3 sample_tokens: 5 }
parallel { deadline_seconds: 60 }
output { directory: "run" }
"""


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    def __repr__(self):
        return f"code {self.code}\nstdout:\n{self.out}\nstderr:\n{self.err}"


def run(*words, cwd=None, env=None, input=None):
    return Result(subprocess.run(words, cwd=cwd, env=env, input=input, capture_output=True, text=True, timeout=120, check=False))


def ropewalk(*words, cwd=None, env=None, input=None):
    return run(PROGRAM, *words, cwd=cwd, env=env, input=input)


def ranks(count, *words, cwd=None, env=None):
    return run(*MPIRUN, "--quiet", "-n", str(count), PROGRAM, *words, cwd=cwd, env=env)


def peak_bytes(words, cwd):
    """Peak memory of a child process, which must succeed."""
    process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    expect(process.returncode == 0, words)
    return usage.ru_maxrss * 1024


def running_job(folder, count, *words, options=()):
    """Starts a job of `count` ranks that trains until it is stopped; returns it after its first step."""
    endless = ["--set", "training.steps=100000", "--set", "checkpoint.interval=0", "--set", "validation.interval=0"]
    job = subprocess.Popen([*MPIRUN, "--quiet", *options, "-n", str(count), PROGRAM, "train", "tiny.textproto", *endless, *words], cwd=folder,
                           stderr=subprocess.PIPE, text=True)
    JOBS.append(job)
    told, end = folder / "run/metrics.jsonl", time.time() + 60
    while not (told.exists() and told.stat().st_size) and job.poll() is None and time.time() < end:
        time.sleep(0.05)
    return job


def ranks_of(job):
    """Rank -> process id."""
    return pids_of_ranks(job.pid, PROGRAM)


def expect(condition, result):
    if not condition:
        raise AssertionError(repr(result))


def metrics(folder, directory="run"):
    """The lines of a run's metrics.jsonl, without measured times."""
    lines = [json.loads(line) for line in (folder / directory / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("step", "loss", "gradient_norm", "learning_rate", "tokens")} for line in lines]


def prepared(folder):
    """Writes a configuration and its data into the folder."""
    folder = pathlib.Path(folder)
    (folder / "tiny.textproto").write_text(CONFIG)
    (folder / "book.txt").write_text("In the beginning was the word, and the word was short. " * 100)
    done = ropewalk("prepare", "--input", "book.txt", "--output", "text", cwd=folder)
    expect(done.code == 0, done)
    return folder


def prepare_long_text(folder):
    """Prepares text.bin and text.idx from 80,000 bytes of text."""
    (folder / "text.txt").write_text("All work and no play makes a dull text.\n" * 2000)
    expect(ropewalk("prepare", "--input", "text.txt", "--output", "text", "--overwrite", cwd=folder).code == 0, "prepare")


def main(tests):
    """Runs each test in a fresh folder; returns the exit code."""
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(prepared(folder))
                print(f"ok      {test.__name__}", flush=True)
            except Exception:  # print any failure, and run the next test
                failed += 1
                print(f"FAILED  {test.__name__}: {test.__doc__}\n{traceback.format_exc(limit=-2)}", flush=True)
            while JOBS:
                JOBS.pop().kill()
    print(f"{len(tests) - failed} of {len(tests)} passed")
    return 1 if failed else 0
