"""The time that `ropewalk plan --device cpu` models beside the time that steps then take, for some meshes on this host.

    tests/benchmark/plan_report.py build/release/ropewalk . mpirun [OPTION OF MPIRUN]... [--rounds 5] [--config FILE]

Each round goes through all meshes: a plan, which measures a product and a copy just then, and a run of some steps, of which the first
does not count. The report has medians over the rounds, and the spread of the measured ones: where it is wide, the machine was not idle.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile


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
        """Median seconds of a step."""
        words = ["train", self.config, *settings_of(mesh), "--set", "data.prefix=text", "--set", f"training.steps={STEPS}", "--set", "training.warmup_steps=0",
                 "--set", "validation.interval=0", "--set", "validation.sample_tokens=0", "--set", "checkpoint.interval=0",
                 "--set", "data.validation_fraction=0", "--set", "output.directory=run"]
        run(*(self.mpirun + ["-n", str(ranks)] if ranks > 1 else []), self.program, *words, cwd=self.folder)
        lines = (self.folder / "run/metrics.jsonl").read_text().splitlines()
        subprocess.run(["rm", "-r", "run"], cwd=self.folder, check=True)
        return statistics.median(json.loads(line)["seconds"] for line in lines[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("root")
    parser.add_argument("mpirun", nargs="+", help="mpirun and its options, behind --")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--config", help="default: configs/rnope_swa.textproto")
    arguments = parser.parse_args()
    root = pathlib.Path(arguments.root).resolve()
    config = str(pathlib.Path(arguments.config).resolve() if arguments.config else root / "configs/rnope_swa.textproto")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(str(pathlib.Path(arguments.program).resolve()), config, arguments.mpirun, pathlib.Path(folder))
        planned, measured = {mesh: [] for mesh, _ in MESHES}, {mesh: [] for mesh, _ in MESHES}
        loads = []
        for _ in range(arguments.rounds):
            for mesh, ranks in MESHES:
                loads.append(os.getloadavg()[0])
                planned[mesh].append(bench.plan(mesh, ranks))
                measured[mesh].append(bench.measure(mesh, ranks))
    print(f"{config}, {cores} CPUs, load before runs {min(loads):.1f} to {max(loads):.1f} (the runs' own among it), {arguments.rounds} rounds\n")
    print("| mesh | measured, s | lowest to highest | model, s | model / measured |\n|---|---|---|---|---|")
    for mesh, ranks in MESHES:
        seconds = statistics.median(measured[mesh])
        model = statistics.median(time["seconds"] for time in planned[mesh])
        print(f"| {mesh}{f' ({ranks} ranks on {cores} CPUs)' if ranks > cores else ''} | {seconds:.3f} | {min(measured[mesh]):.3f} to {max(measured[mesh]):.3f} | "
              f"{model:.3f} | {model / seconds:.2f} |")


if __name__ == "__main__":
    main()
