"""Runs the program on mutated inputs for each of its parsers. It must end with a documented exit code, a message if it fails, and the
right results if they are known.

    mutation_test.py PROGRAM                                    the inputs that ctest runs
    mutation_test.py PROGRAM --count 4000 --seed 7 --jobs 2     a campaign, with progress
    mutation_test.py PROGRAM --seed 7 --first 123 --count 1 --keep kept     repeats one input, and keeps its files

An input depends only on the seed and its number. To use a sanitizer, build the program with `launch/test.sh --sanitizer address` first."""
import argparse
import collections
import concurrent.futures
import os
import pathlib
import random
import resource
import shlex
import shutil
import subprocess
import sys
import tempfile
import time

import hugging_face
import inputs

KINDS = inputs.KINDS + hugging_face.KINDS

ALLOWED = {0, 2, 3, 4, 5, 6, 7}  # exit codes in launch/README.md, without 1 and those caused by signals
REPORTS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "runtime error:")
MEMORY = 16 << 30  # address space limit in bytes


class Program:
    def __init__(self, path, timeout):
        self.path, self.timeout = str(path), timeout
        binary = path.read_bytes()
        self.sanitized = b"__asan_init" in binary or b"__tsan_init" in binary
        self.environment = {**os.environ,
                            "ASAN_OPTIONS": "allocator_may_return_null=1:hard_rss_limit_mb=6000"}

    def limit(self):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if not self.sanitized:  # a sanitizer reserves more address space
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    def run(self, words, folder):
        """Returns (exit code, or None after the time limit; stderr)."""
        try:
            done = subprocess.run([self.path, *words], cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=self.timeout, preexec_fn=self.limit, check=False)
        except subprocess.TimeoutExpired as error:
            return None, (error.stderr or b"").decode(errors="replace")
        return done.returncode, done.stderr.decode(errors="replace")


def fault(code, said):
    """The problem with how a command ended; None if there is none."""
    if code is None:
        return "did not end"
    if any(report in said for report in REPORTS):
        return "a sanitizer's report"
    if code not in ALLOWED:
        return f"ended with {code}"
    if code != 0 and "ropewalk: " not in said:
        return f"ended with {code} and said nothing"
    return None


def try_input(program, baseline, seed, number, kinds, folder):
    """Returns (name of the kind, exit code of its last command, description of the failure or None)."""
    kind = kinds[number % len(kinds)]
    shutil.copytree(baseline, folder)
    tried = kind(random.Random(f"{seed}:{number}"), folder)
    tried.said, codes, problem = [], [], None
    for words in tried.commands:
        code, said = program.run(words, folder)
        codes.append(code)
        tried.said.append(said)
        problem = fault(code, said)
        if problem or code != 0:
            break
    problem = problem or tried.problem(codes)
    if problem:
        problem = (f"FAILED  --seed {seed} --first {number} --count 1: {kind.__name__}: {problem}\n"
                   f"  ropewalk {shlex.join(tried.commands[len(codes) - 1])}\n{tried.said[-1][-3000:]}")
    return kind.__name__, codes[-1], problem


def campaign(program, options, root):
    baseline = root / "baseline"
    baseline.mkdir()

    def first(*words):
        code, said = program.run(words, baseline)
        if code != 0:
            raise SystemExit(f"the undamaged baseline fails: ropewalk {shlex.join(words)} ended with {code}\n{said}")
    inputs.make_baseline(baseline, first)
    hugging_face.make_baseline(baseline, first)

    kinds = [kind for kind in KINDS if options.only in (None, kind.__name__)]
    counts, failures, began = collections.Counter(), 0, time.time()

    def one(number):
        folder = (options.keep or root) / f"input-{number}"
        result = try_input(program, baseline, options.seed, number, kinds, folder)
        if not options.keep:
            shutil.rmtree(folder)
        return result

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        numbers = range(options.first, options.first + options.count)
        for done, (kind, code, problem) in enumerate(pool.map(one, numbers), 1):
            counts[kind, code] += 1
            if problem:
                failures += 1
                print(problem, flush=True)
            if done % 100 == 0 or done == options.count:
                print(f"{done} of {options.count} inputs, {failures} failures, {time.time() - began:.0f} s", flush=True)
    for kind in kinds:
        ends = {code: n for (name, code), n in counts.items() if name == kind.__name__}
        print(f"  {kind.__name__:18} " + ", ".join(f"{n} ended with {code}" for code, n in sorted(ends.items(), key=str)))
    return 1 if failures else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=180)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=120, help="time limit for each command, in seconds")
    parser.add_argument("--only", choices=[kind.__name__ for kind in KINDS])
    parser.add_argument("--keep", type=pathlib.Path, help="a folder to keep the inputs in")
    options = parser.parse_args()
    sys.stdout.reconfigure(errors="backslashreplace")  # command lines may have arbitrary bytes
    with tempfile.TemporaryDirectory(prefix="ropewalk-mutation-") as root:
        return campaign(Program(options.program, options.timeout), options, pathlib.Path(root))


if __name__ == "__main__":
    sys.exit(main())
