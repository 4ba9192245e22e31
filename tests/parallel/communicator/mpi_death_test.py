"""A job in which one rank dies ends within seconds, names the rank, and does not return 0."""
import subprocess
import sys
import time

VICTIM = sys.argv[1]
MPIRUN = sys.argv[2:]
LIMIT_S = 20.0  # mpirun takes 1 to 2 s to notice; the machine may be busy

# How rank 1 ends, what the output must contain, and mpirun's exit code if the program determines it. mpirun sometimes loses its own
# paragraph about MPI_Abort ("Data unpack would read past end of buffer"), so that text is not required.
CASES = [
    ("kill", ["process rank 1", "signal 9"], None),
    ("exit", ["Process name: [[", ",1]", "Exit code:    7"], 7),
    ("throw", ["the file is empty"], 3),
    ("hang", ["rank 1 has not answered", "in all_reduce", "on axis world", "not finished"], 5),
]


def main():
    failures = []
    for way, expected, code in CASES:
        begin = time.monotonic()
        job = subprocess.run(MPIRUN + ["-n", "3", VICTIM, way], capture_output=True, text=True, timeout=60)
        seconds = time.monotonic() - begin
        output = job.stdout + job.stderr
        missing = [text for text in expected if text not in output]
        if missing:
            failures.append(f"{way}: {missing} not in the output:\n{output}")
        if job.returncode == 0 or (code is not None and job.returncode != code):
            failures.append(f"{way}: mpirun returned {job.returncode}, expected {code or 'anything but 0'}")
        if seconds > LIMIT_S:
            failures.append(f"{way}: took {seconds:.1f} s")
        print(f"{way}: ended after {seconds:.1f} s with {job.returncode}")
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
