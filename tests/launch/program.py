"""What the tests of the program share: running it, alone and under mpirun, and a model small enough for a second."""
import json
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
# Whoever started the tests may ignore these (a shell's background, nohup), and what they start would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

JOBS = []  # that a test has started: they end with it

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


def running_job(folder, count, *words, options=()):
    """A job of so many ranks that goes on until it is stopped, when it has made a step."""
    endless = ["--set", "training.steps=100000", "--set", "checkpoint.interval=0", "--set", "validation.interval=0"]
    job = subprocess.Popen([*MPIRUN, "--quiet", *options, "-n", str(count), PROGRAM, "train", "tiny.textproto", *endless, *words], cwd=folder,
                           stderr=subprocess.PIPE, text=True)
    JOBS.append(job)
    told, end = folder / "run/metrics.jsonl", time.time() + 60
    while not (told.exists() and told.stat().st_size) and job.poll() is None and time.time() < end:
        time.sleep(0.05)
    return job


def ranks_of(job):
    """Rank -> its process."""
    return pids_of_ranks(job.pid, PROGRAM)


def expect(condition, result):
    if not condition:
        raise AssertionError(repr(result))


def metrics(folder, directory="run"):
    """The lines of a run's metrics.jsonl, without what a clock says."""
    lines = [json.loads(line) for line in (folder / directory / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in ("step", "loss", "gradient_norm", "learning_rate", "tokens")} for line in lines]


def prepared(folder):
    """A folder with a configuration and data for it."""
    folder = pathlib.Path(folder)
    (folder / "tiny.textproto").write_text(CONFIG)
    (folder / "book.txt").write_text("In the beginning was the word, and the word was short. " * 100)
    done = ropewalk("prepare", "--input", "book.txt", "--output", "text", cwd=folder)
    expect(done.code == 0, done)
    return folder


def prepare_long_text(folder):
    """text.bin and text.idx of 80,000 bytes."""
    (folder / "text.txt").write_text("All work and no play makes a dull text.\n" * 2000)
    expect(ropewalk("prepare", "--input", "text.txt", "--output", "text", "--overwrite", cwd=folder).code == 0, "prepare")


def main(tests):
    """Runs each test in a fresh folder; the exit code."""
    failed = 0
    for test in tests:
        with tempfile.TemporaryDirectory() as folder:
            try:
                test(prepared(folder))
                print(f"ok      {test.__name__}", flush=True)
            except Exception:  # any failure is told, and the next test run
                failed += 1
                print(f"FAILED  {test.__name__}: {test.__doc__}\n{traceback.format_exc(limit=-2)}", flush=True)
            while JOBS:
                JOBS.pop().kill()
    print(f"{len(tests) - failed} of {len(tests)} passed")
    return 1 if failed else 0
