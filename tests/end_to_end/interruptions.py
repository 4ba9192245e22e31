"""Interrupts runs at random times, and compares their results bit by bit with those of an uninterrupted run.

  interruptions.py PROGRAM kills [--count 1000]       SIGKILL to one rank, several, mpirun or all, also while a job starts; the job
                                                      is restarted at once
  interruptions.py PROGRAM signals [--count 2000]     SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 to running jobs of one rank and of
                                                      four: exit code 85, a checkpoint of that step, and the run resumes from it
  interruptions.py PROGRAM profiler [--seconds 600]   runs with a preloaded SIGPROF handler, called 1000 times per second on the ranks'
                                                      own stack

Open MPI's mpirun sometimes hangs if a rank is killed while it starts, although all ranks have ended. It is then killed, and the line of
this interruption says so.

Interruption number i depends only on i and the seed, except for the machine's timing. So --first F --count N runs the part [F, F + N) of
a campaign. A run takes ten interruptions, and its number determines its mesh.
"""
import argparse
import collections
import contextlib
import os
import pathlib
import random
import signal
import sys
import time

from harness import RopewalkTest

MESHES = [(0, []),
          (2, ["parallel.context_parallel=2"]),
          (4, ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]),
          (4, ["parallel.data_parallel=2", "parallel.context_parallel=2"])]
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]
PER_RUN = 10  # interruptions
MOST_RUNS = 20  # that may finish before they are interrupted; more than one rarely does
PATIENCE = 60  # seconds for a job to end


class Place(RopewalkTest):
    """A directory with data and a configuration, and the runs in it."""

    def runTest(self):
        pass

    def __enter__(self):
        self.setUp()
        return self

    def __exit__(self, *_):
        self.doCleanups()

    def outcome(self, run, step):
        """The results that must be the same in every run."""
        return self.numbers(run), self.tensors(step, run)

    def compare(self, run, step, alone):
        numbers, tensors = self.outcome(run, step)
        self.assertEqual(numbers, alone[0], "the metrics differ from those of the uninterrupted run")
        self.assertEqual(tensors, alone[1], "the checkpoint differs from that of the uninterrupted run")
        left = [path.name for path in (self.directory / run / "checkpoints").iterdir() if path.suffix]
        self.assertEqual(left, [], "left behind")


class Alone:
    """The results of uninterrupted runs, by mesh; each is run once."""

    def __init__(self, place, settings, steps):
        self.place, self.settings, self.steps, self.known = place, settings, steps, {}

    def of(self, mesh):
        if mesh not in self.known:
            ranks, sets = MESHES[mesh]
            began = time.monotonic()
            self.place.check(self.place.train(ranks, *sets, *self.settings, f"output.directory=alone{mesh}"))
            self.known[mesh] = self.place.outcome(f"alone{mesh}", self.steps), time.monotonic() - began
        return self.known[mesh]


def rank_pids(place, job, ranks):
    """Process ids of the ranks that have started; without mpirun, that of the job."""
    return place.rank_pids(job) if ranks else [job.pid]


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # the process has ended meanwhile
            os.kill(pid, number)


def kill(place, job, ranks, draw):
    """Returns a description of what was killed; None if the job had ended before."""
    pids = rank_pids(place, job, ranks)
    if job.poll() is not None:
        return None
    kind = draw.choice(["one rank", "several ranks", "mpirun", "all"]) if ranks and pids else "mpirun" if ranks else "one rank"
    count = {"one rank": 1, "several ranks": max(2, ranks - 1), "mpirun": 0, "all": len(pids)}[kind]
    victims = draw.sample(pids, min(count, len(pids)))
    if kind in ("mpirun", "all"):
        victims.append(job.pid)
    send(victims, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while job.poll() is None and (time.monotonic() < end or (ranks and place.rank_pids(job))):
        time.sleep(0.01)
        if time.monotonic() > end + PATIENCE:
            place.fail(f"ranks of a killed job still run:\n{place.output_of(job)}")
    if job.poll() is None:
        job.kill()
        job.wait()
        kind += ", after which mpirun did not end by itself"
    return kind


def interrupted_run(place, alone, run, mesh, draws, interrupt, tell):
    """Interrupts a run repeatedly, then lets it finish.

    interrupt(job, ranks, directory, number, draw) returns what was done to the job; None if the job had finished correctly before."""
    ranks, sets = MESHES[mesh]
    expected, _ = alone.of(mesh)
    directory = f"run{run}"
    start = lambda: place.train(ranks, *sets, *alone.settings, f"output.directory={directory}")
    for number, draw in draws:
        for run_number in range(1, MOST_RUNS + 1):
            interruption = interrupt(start(), ranks, directory, number, draw)
            if interruption:
                break
            place.compare(directory, alone.steps, expected)
            directory = f"run{run}.{number}.{run_number}"  # use another run for this interruption
        else:
            place.fail(f"{MOST_RUNS} runs in sequence finished before they could be interrupted")
        tell(number, interruption)
    place.check(start())
    place.compare(directory, alone.steps, expected)


def kills(place, numbers, seed, tell):
    settings = ["training.steps=20", "checkpoint.interval=1", "validation.interval=4", "validation.sample_interval=0"]
    alone = Alone(place, settings, 20)
    for run, draws in by_run(numbers, seed):
        mesh = run % len(MESHES)
        _, seconds = alone.of(mesh)

        def interrupt(job, ranks, _directory, _number, draw):
            time.sleep(draw.uniform(0, 1.1 * seconds))
            killed = kill(place, job, ranks, draw)
            if killed:
                return f"{killed} of {ranks or 1}"
            place.check(job)
            return None

        interrupted_run(place, alone, run, mesh, draws, interrupt, tell)


def signals(place, numbers, seed, tell):
    settings = ["training.steps=400", "checkpoint.interval=0", "validation.interval=0", "validation.sample_interval=0"]
    alone = Alone(place, settings, 400)
    before = collections.defaultdict(int)  # the last step of the run in a directory, before its current job

    def interrupt(job, ranks, directory, number, draw):
        sent = SIGNALS[number % len(SIGNALS)]
        place.wait_for_step(before[directory] + 1, job, directory, may_end=True)
        time.sleep(draw.uniform(0, 0.1))
        to_mpirun = ranks and sent == signal.SIGUSR1 and draw.random() < 0.5  # the signal that mpirun forwards at once
        pids = [job.pid] if to_mpirun else rank_pids(place, job, ranks)
        send(draw.sample(pids, min(1, len(pids))), sent)
        code, output = place.finish(job, timeout=PATIENCE)
        done = before[directory] = place.metrics(directory)[-1]["step"]
        if code == 0:
            place.assertEqual(done, alone.steps, output)
            return None
        place.assertEqual(code, 85, output)
        place.assertIn(f"saved a checkpoint after step {done}", output)
        place.assertTrue(place.checkpoint(done, directory).is_dir(), output)
        return f"{sent.name} to {'mpirun' if to_mpirun else 'one'} of {ranks or 1}, after step {done}"

    for run, draws in by_run(numbers, seed):
        interrupted_run(place, alone, run, (0, 2)[run % 2], draws, interrupt, tell)


def by_run(numbers, seed):
    """The interruptions, each with its random generator, grouped into runs of PER_RUN."""
    runs = {}
    for number in numbers:
        runs.setdefault(number // PER_RUN, []).append((number, random.Random(f"{seed} {number}")))
    return runs.items()


def profiler(place, seconds, library):
    """Runs each mesh in turn under a profiler's signals until the time is up."""
    settings = ["training.steps=200", "checkpoint.interval=50", "validation.interval=50", "validation.sample_interval=0"]
    alone = Alone(place, settings, 200)
    for mesh in range(len(MESHES)):
        alone.of(mesh)
    end, runs = time.monotonic() + seconds, 0
    while runs < len(MESHES) or time.monotonic() < end:
        mesh, directory = runs % len(MESHES), f"run{runs}"
        ranks, sets = MESHES[mesh]
        os.environ["LD_PRELOAD"] = library
        job = place.train(ranks, *sets, *settings, f"output.directory={directory}")
        del os.environ["LD_PRELOAD"]
        output = place.check(job)
        place.assertIn("signals of the profiler", output, "the library was not loaded")
        place.compare(directory, alone.steps, alone.of(mesh)[0])
        runs += 1
        print(f"{runs} runs under a profiler's signals, same bits; {max(0, end - time.monotonic()):.0f} s left", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["kills", "signals", "profiler"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--preload", help="the preloaded handler (build/*/tests/end_to_end/libprofiler.so)")
    asked = parser.parse_args()
    began = time.monotonic()
    with Place() as place:
        if asked.what == "profiler":
            return profiler(place, asked.seconds, str(pathlib.Path(asked.preload).resolve()))
        count = asked.count or {"kills": 1000, "signals": 2000}[asked.what]
        done = 0

        def tell(number, what):
            nonlocal done
            done += 1
            left = (time.monotonic() - began) / done * (count - done)
            print(f"{done}/{count}  {asked.what} number {number} (seed {asked.seed}): {what}; {left:.0f} s left", flush=True)

        {"kills": kills, "signals": signals}[asked.what](place, range(asked.first, asked.first + count), asked.seed, tell)
        print(f"{done} {asked.what}, seed {asked.seed}, [{asked.first}, {asked.first + count}): every run has the bits of an "
              f"uninterrupted one; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
