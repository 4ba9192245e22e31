"""A rank whose wait fails keeps the buffers of messages in flight valid, and names the rank that hangs."""
import re
import subprocess
import sys

VICTIM = sys.argv[1]
MPIRUN = sys.argv[2:]

WAIT = (r"ranks 1, 2 on \S+ have not answered rank 0 on \S+ for 1\.\d s: 4 bytes of i32 from rank 1 on \S+ and "
        r"4194304 bytes of i32 to rank 2 on \S+ in exchange \(operation 2\) on axis world\n")
# (the victim's argument, the job's exit code, patterns that the output must match)
CASES = [
    ("deaf", 5, [WAIT, r"no word from ranks 1, 2 on \S+; 1 of 3 ranks have reported", r"rank 2 has received all"]),
    ("wait", 5, [WAIT, r"no word from rank 1 on \S+; 2 of 3 ranks have reported"]),
    ("throw", 3, [r"ropewalk: rank 0 on \S+: the file is empty"]),
]


def main():
    failures = []
    for way, code, wanted in CASES:
        job = subprocess.run(MPIRUN + ["--quiet", "-n", "3", VICTIM, way], capture_output=True, text=True, timeout=60, check=False)
        output = job.stdout + job.stderr
        problems = [] if job.returncode == code else [f"mpirun returned {job.returncode}, not {code}"]
        problems += [f"the output lacks {text}" for text in wanted if not re.search(text, output)]
        # A rank that throws frees its buffers before it can end the job. If a peer's MPI reads them just then, it prints
        # "Read -1 ... errno = 14", which is harmless.
        unwanted = ("Segmentation fault", "rubbish") + (() if way == "throw" else ("errno",))
        problems += [f"the output has {text}" for text in unwanted if text in output]
        if problems:
            failures.append("\n  ".join([f"{way}:", *problems, output]))
    print("\n".join(failures))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
