"""The program under a real Slurm on this host: steps of one task and of several, with PMIx and without. The batch script saves a checkpoint
when Slurm warns it, and requeues itself."""
import pathlib
import subprocess
import sys
import tempfile

from program import PROGRAM, ROOT, Result, expect, main, metrics

sys.path.append(str(ROOT / "tests/support"))
from slurm import NoSlurm, Slurm  # noqa: E402

SKIPPED = 77
TRAIN = [PROGRAM, "train", "tiny.textproto"]
PAIR = ["--set", "parallel.context_parallel=2"]


def slurm_runs(folder, *words):
    return Result(subprocess.run(words, cwd=folder, env=slurm.environment, capture_output=True, text=True, timeout=90, check=False))


def one_task_needs_no_mpi(folder):
    """One task, with PMIx and without. In a shell of salloc the program notes that it runs as one rank."""
    for number, (start, note) in enumerate(((["srun", "-n1"], ""), (["srun", "--mpi=pmix", "-n1"], ""),
                                            (["srun", "-n1", "--pty", "bash", "-c", '"$@"', "bash"], ""), (["salloc", "-n4"], "has 4 tasks"))):
        result = slurm_runs(folder, *start, *TRAIN, "--set", f"output.directory=run{number}")
        said = result.out + result.err  # with --pty both streams are one
        expect(result.code == 0 and "1 rank on 1 host" in said and "; no MPI" in said and note in said, result)
        expect(len(metrics(folder, f"run{number}")) == 6, result)


def tasks_that_pmix_joins_are_one_job(folder):
    """srun --mpi=pmix and mpirun inside an allocation give the same numbers."""
    result = slurm_runs(folder, "srun", "--mpi=pmix", "-N1", "-n2", *TRAIN, *PAIR)
    expect(result.code == 0 and "2 ranks on 1 host" in result.err, result)
    launcher = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--mca", "mpi_yield_when_idle", "1", "-n", "2"]
    result = slurm_runs(folder, "salloc", "-N1", "-n2", *launcher, *TRAIN, *PAIR, "--set", "output.directory=second")
    expect(result.code == 0 and "2 ranks on 1 host" in result.err and "SLURM_NTASKS" not in result.err, result)
    expect(metrics(folder) == metrics(folder, "second"), result)


def tasks_that_nobody_joins_are_told_how(folder):
    """Without PMIx the error comes before MPI_Init, which would abort. Verbs of one rank run in every task."""
    for mpi in ("none", "pmi2"):
        result = slurm_runs(folder, "srun", f"--mpi={mpi}", "-N1", "-n2", *TRAIN, *PAIR)
        expect(result.code == 2 and result.err.count("\n    srun --mpi=pmix -n 2 ") == 2, result)
        expect("MPI_Init" not in result.err and not (folder / "run").exists(), result)
    result = slurm_runs(folder, "srun", "-n2", PROGRAM, "version")
    expect(result.code == 0 and result.out.count("ropewalk") == 2, result)
    result = slurm_runs(folder, "srun", "--mpi=pmix", "-N1", "-n2", PROGRAM, "version")
    expect(result.code == 0 and result.out.count("ropewalk") == 1, result)


def the_batch_script_queues_itself_again(folder):
    """Before its time limit Slurm sends SIGUSR1: the job saves a checkpoint and requeues itself; then it resumes and trains to the end."""
    config = folder / "tiny.textproto"
    config.write_text(config.read_text().replace("steps: 6", "steps: 9999999"))
    long = ["--set", "validation.interval=0", "--set", "validation.sample_tokens=0", "--set", "checkpoint.interval=0"]
    job = slurm_runs(folder, "sbatch", "--parsable", "--nodes=1", "--ntasks-per-node=2", "--time=3", "--signal=USR1@60",
                     f"--export=ALL,ROPEWALK={PROGRAM}",
                     "--output=log", str(ROOT / "launch/slurm.sbatch"), "tiny.textproto", *PAIR, *long).out.strip()
    expect(job.isdigit(), job)
    slurm.wait_for_text(folder / "log", "stopped by a signal", 170)
    steps = len(metrics(folder)) + 50  # the job cannot have begun again
    config.write_text(config.read_text().replace("steps: 9999999", f"steps: {steps}"))
    slurm.wait_for(job, ("COMPLETED", "FAILED", "CANCELLED"))
    log = (folder / "log").read_text()
    expect("continuing after step" in log and [line["step"] for line in metrics(folder)] == list(range(1, steps + 1)), log)


if __name__ == "__main__":
    try:
        with tempfile.TemporaryDirectory() as place, Slurm(pathlib.Path(place)) as slurm:
            sys.exit(main([one_task_needs_no_mpi, tasks_that_pmix_joins_are_one_job, tasks_that_nobody_joins_are_told_how,
                           the_batch_script_queues_itself_again]))
    except NoSlurm as reason:
        print(f"skipped: {reason}")
        sys.exit(SKIPPED)
