"""The time that `ropewalk plan --device cpu` models beside the time that steps then take, for some meshes on this host.

    tests/benchmark/plan_report.py build/release/ropewalk . [--runs 5] -- mpirun [OPTION OF MPIRUN]...

Each round goes through all meshes: a plan, which measures a product and a copy just then, and a run of some steps, of which the first
does not count. A run counts where other processes took less than --others of a CPU meanwhile; rounds go on until each mesh has
--runs of those, or for --minutes. The report has medians over the runs that count, or over all where none does. CPU-seconds of a rank
say more where others are at work: they hold its waits too, in which it polls, but not the time that others have its CPU.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

MESHES = [("dp=1", 1), ("dp=2", 2), ("cp=2", 2), ("tp=2", 2), ("dp=2,cp=2", 4), ("cp=2,tp=2", 4)]
AXES = {"dp": "data_parallel", "cp": "context_parallel", "tp": "tensor_parallel"}
STEPS = 5


def settings_of(mesh):
    sizes = dict(axis.split("=") for axis in mesh.split(","))
    return [word for axis, field in AXES.items() for word in ("--set", f"parallel.{field}={sizes.get(axis, 1)}")]


def run(*words, cwd):
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout


class Bench:
    def __init__(self, program, config, mpirun, folder):
        self.program, self.config, self.mpirun, self.folder = program, config, mpirun, folder
        (folder / "text.txt").write_text("All work and no play makes a dull text.\n" * 20000)
        run(program, "prepare", "--input", "text.txt", "--output", "text", cwd=folder)

    def plan(self, mesh, ranks):
        out = run(self.program, "plan", self.config, "--mesh", mesh, "--device", "cpu", "--ranks-per-host", str(ranks), "--json", cwd=self.folder)
        return json.loads(out)["stages"][0]["time"]

    def measure(self, mesh, ranks):
        """Median seconds of a step, CPU-seconds of a rank in a step, and the CPUs that other processes took."""
        began, busy, own = time.monotonic(), busy_seconds(), own_seconds()
        lines = self.train(mesh, ranks, 1 + STEPS)
        mine = own_seconds() - own
        others = (busy_seconds() - busy - mine) / (time.monotonic() - began)
        own = own_seconds()
        self.train(mesh, ranks, 1)
        a_rank = (mine - own_seconds() + own) / STEPS / ranks
        return statistics.median(json.loads(line)["seconds"] for line in lines[1:]), a_rank, others

    def train(self, mesh, ranks, steps):
        words = ["train", self.config, *settings_of(mesh), "--set", "data.prefix=text", "--set", f"training.steps={steps}",
                 "--set", "training.warmup_steps=0", "--set", "validation.interval=0", "--set", "validation.sample_tokens=0",
                 "--set", "checkpoint.interval=0", "--set", "data.validation_fraction=0", "--set", "output.directory=run"]
        run(*(self.mpirun + ["-n", str(ranks)] if ranks > 1 else []), self.program, *words, cwd=self.folder)
        lines = (self.folder / "run/metrics.jsonl").read_text().splitlines()
        shutil.rmtree(self.folder / "run")
        return lines


def busy_seconds():
    """Of all CPUs since the host started."""
    user, nice, system = (int(word) for word in pathlib.Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    """Of the processes that this one has started and waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("root")
    parser.add_argument("mpirun", nargs="+", help="mpirun and its options, behind --")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--others", type=float, default=0.2)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--config", help="default: configs/rnope_swa.textproto")
    arguments = parser.parse_args()
    root = pathlib.Path(arguments.root).resolve()
    config = str(pathlib.Path(arguments.config).resolve() if arguments.config else root / "configs/rnope_swa.textproto")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(str(pathlib.Path(arguments.program).resolve()), config, arguments.mpirun, pathlib.Path(folder))
        planned, measured = {mesh: [] for mesh, _ in MESHES}, {mesh: [] for mesh, _ in MESHES}
        end = time.monotonic() + 60 * arguments.minutes
        missing = MESHES
        while missing and time.monotonic() < end:
            for mesh, ranks in missing:
                planned[mesh].append(bench.plan(mesh, ranks)["seconds"])
                measured[mesh].append(bench.measure(mesh, ranks))
            missing = [(mesh, ranks) for mesh, ranks in MESHES if sum(run[2] < arguments.others for run in measured[mesh]) < arguments.runs]
    print(f"{config}, {cores} CPUs; medians, and the lowest and highest\n")
    print("| mesh | runs that count | CPUs of others | step, s | CPU-s of a rank in a step | model, s | model / step | model / CPU-s |")
    print("|---|---|---|---|---|---|---|---|")
    for mesh, ranks in MESHES:
        pairs = list(zip(measured[mesh], planned[mesh]))
        quiet = [pair for pair in pairs if pair[0][2] < arguments.others]
        (steps, cpu, others), model = zip(*(run for run, _ in quiet or pairs)), statistics.median(plan for _, plan in quiet or pairs)
        share = min(1, cores / ranks)  # of a CPU, that a rank has
        print(f"| {mesh} | {len(quiet)} of {len(pairs)} | {statistics.median(others):.2f} | {spread(steps)} | {spread(cpu)} | {model:.3f} | "
              f"{model / statistics.median(steps):.2f} | {model * share / statistics.median(cpu):.2f} |")


def spread(values):
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    main()
