"""A rank that hangs during the start, at several places: the job ends in time with exit code 5, and reports which wait failed."""
import os
import re
import subprocess
import sys
import time

from program import MPIRUN, PROGRAM, Result, expect, main

START, DEADLINE = 3, 6  # deadlines in seconds: until the configuration is read, and after that
SLOW = 30  # seconds for everything else, on a busy machine
# PLACES: (call before which rank 1 stops, number of that call, message of the others)
IN_MPI = r"rank [02] on \S+ has waited {}\.\d s in {}, for the ranks that print no such line"
NAMED = r"rank 1 on .* has not answered rank [02] on \S+ for [34]\.\d s"
EARLY, LATE = "[34]", "[67]"
PLACES = [("main", 1, IN_MPI.format(EARLY, "MPI_Init")), ("MPI_Init", 1, IN_MPI.format(EARLY, "MPI_Init")), ("MPI_Get_library_version", 1, NAMED),
          ("MPI_Comm_split_type", 1, IN_MPI.format(EARLY, "MPI_Comm_split_type")), ("MPI_Comm_dup", 1, IN_MPI.format(EARLY, "MPI_Comm_dup")),
          ("MPI_Comm_dup", 2, IN_MPI.format(LATE, "MPI_Comm_dup")), ("MPI_Comm_split", 1, IN_MPI.format(LATE, "MPI_Comm_split")),
          ("MPI_Finalize", 1, IN_MPI.format(LATE, "MPI_Finalize"))]
TRAIN = ["train", "tiny.textproto", "--start-deadline", str(START), "--set", f"parallel.deadline_seconds={DEADLINE}",
         "--set", "parallel.context_parallel=3"]


def ranks_that_wait(folder, *words, **variables):
    """Runs three ranks, one of which hangs; returns the result."""
    began = time.time()
    job = subprocess.run([*MPIRUN, "--quiet", "-n", "3", PROGRAM, *words], cwd=folder, env={**os.environ, **variables},
                         capture_output=True, text=True, timeout=120, check=False)
    expect(time.time() - began < DEADLINE + SLOW, f"it took {time.time() - began:.1f} s")
    return Result(job)


def a_rank_that_stands_still_is_waited_for_in_vain(folder):
    """Before main, in MPI_Init, while host names are gathered, in MPI's own collectives, and in MPI_Finalize."""
    for call, number, said in PLACES:
        result = ranks_that_wait(folder, *TRAIN, LD_PRELOAD=os.environ["STOP_IN_CALL"], STOP_RANK="1", STOP_CALL=call, STOP_NUMBER=str(number))
        expect(result.code == 5 and re.search(said, result.err), (call, number, result))


def a_configuration_that_does_not_come_is_waited_for_in_vain(folder):
    """Rank 0 reads the configuration from a pipe that nobody writes."""
    os.mkfifo(folder / "pipe")
    result = ranks_that_wait(folder, "train", "pipe", "--start-deadline", str(START))
    expect(result.code == 5 and re.search(r"rank 0 on \S+ has not answered rank [12] on \S+ for [34]\.\d s: .* in broadcast", result.err), result)


def a_deadline_that_is_no_number_is_told_once(folder):
    result = ranks_that_wait(folder, "train", "tiny.textproto", "--start-deadline", "soon")
    expect(result.code == 2 and result.err.count("--start-deadline soon must be a whole number in [1, 86400]") == 1, result)


if __name__ == "__main__":
    sys.exit(main([a_rank_that_stands_still_is_waited_for_in_vain, a_configuration_that_does_not_come_is_waited_for_in_vain,
                   a_deadline_that_is_no_number_is_told_once]))
