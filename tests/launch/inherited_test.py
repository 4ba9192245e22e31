"""State inherited from the parent process: closed streams, blocked signals, limits, a deleted working directory, odd variables."""
import os
import resource
import signal
import subprocess
import sys
import time

from program import MPIRUN, PROGRAM, Result, expect, main, metrics, ropewalk

LONG = ["--set", "training.steps=100000", "--set", "validation.interval=0", "--set", "checkpoint.interval=0"]


def started(folder, *words, at_start=lambda: None, env=None):
    """Runs the program, after at_start() in its process; returns its result."""
    done = subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False, preexec_fn=at_start)
    return Result(done)


def closed(*files):
    def close():
        for file in files:
            os.close(file)
    return close


def closed_streams_do_not_become_files_of_the_run(folder):
    """No log line gets into the data or the metrics, whichever of stdin, stdout and stderr are closed."""
    right = (folder / "text.bin").read_bytes()
    for number, files in enumerate(((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))):
        result = started(folder, PROGRAM, "prepare", "--input", "book.txt", "--output", f"p{number}", at_start=closed(*files))
        expect(result.code == 0 and (folder / f"p{number}.bin").read_bytes() == right, (files, result))
        result = started(folder, PROGRAM, "train", "tiny.textproto", "--set", f"output.directory=run{number}", at_start=closed(*files))
        expect(result.code == 0 and len(metrics(folder, f"run{number}")) == 6, (files, result))
        files_of_run = [path for path in (folder / f"run{number}").rglob("*") if path.is_file() and path.suffix in (".textproto", ".json", "")]
        expect(not any(b"ropewalk: " in path.read_bytes() for path in files_of_run), (files, result))


def a_closed_output_is_an_error_where_it_is_the_result(folder):
    """Closed stdout is an error for verbs that print their result; a closed stdin is empty."""
    for words in (["help"], ["schema"], ["version"], ["validate", "tiny.textproto"], ["plan", "tiny.textproto", "--json"]):
        result = started(folder, PROGRAM, *words, at_start=closed(1))
        expect(result.code == 1 and "cannot write to standard output: Bad file descriptor" in result.err, result)
    result = started(folder, PROGRAM, "prepare", "--input", "-", "--output", "x", at_start=closed(0))
    expect(result.code == 3 and "no text in" in result.err and not list(folder.glob("x.*")), result)


def limit(kind, most):
    return lambda: resource.setrlimit(kind, (most, most))


def a_file_beyond_its_limit_is_an_error_like_a_full_disk(folder):
    """ulimit -f: `prepare` removes its data; `train` continues without the checkpoint."""
    result = started(folder, PROGRAM, "prepare", "--input", "book.txt", "--output", "x", at_start=limit(resource.RLIMIT_FSIZE, 4096))
    expect(result.code == 3 and "x.bin.tmp: File too large" in result.err and not list(folder.glob("x.*")), result)
    result = started(folder, PROGRAM, "train", "tiny.textproto", "--set", "checkpoint.interval=2",
                     at_start=limit(resource.RLIMIT_FSIZE, 16384))
    expect(result.code == 4 and "File too large" in result.err and len(metrics(folder)) == 6, result)
    expect(result.err.count("the run continues") == 2 and not list((folder / "run/checkpoints").glob("*")), result)


def a_signal_that_was_blocked_stops_the_run(folder):
    """The signal mask is inherited; a blocked signal would never stop the run."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        told = folder / f"run{number}/metrics.jsonl"
        job = subprocess.Popen([PROGRAM, "train", "tiny.textproto", *LONG, "--set", f"output.directory=run{number}"], cwd=folder,
                               stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()))
        end = time.time() + 30
        while not (told.exists() and told.stat().st_size) and time.time() < end:
            time.sleep(0.05)
        job.send_signal(number)
        try:
            expect(job.wait(30) == 85, job.returncode)
        finally:
            job.kill()


def few_files_suffice_or_are_told(folder):
    """ulimit -n: a rank needs a dozen files; with a lower limit, the message names the file that cannot be opened."""
    result = started(folder, PROGRAM, "train", "tiny.textproto", at_start=limit(resource.RLIMIT_NOFILE, 16))
    expect(result.code == 0, result)
    result = started(folder, PROGRAM, "train", "tiny.textproto", at_start=limit(resource.RLIMIT_NOFILE, 4))
    expect(result.code in (2, 3, 4) and "Too many open files" in result.err, result)


def a_folder_that_is_gone_is_told(folder):
    """In a deleted working directory absolute paths work; relative ones are errors."""
    def leave():
        (folder / "gone").mkdir()
        os.chdir(folder / "gone")
        (folder / "gone").rmdir()
    result = started(folder, PROGRAM, "train", f"{folder}/tiny.textproto", "--set", f"data.prefix={folder}/text",
                     "--set", f"output.directory={folder}/run", at_start=leave)
    expect(result.code == 0 and len(metrics(folder)) == 6, result)
    result = started(folder, PROGRAM, "train", "tiny.textproto", at_start=leave)
    expect(result.code == 2 and "cannot read tiny.textproto: No such file" in result.err, result)
    result = started(folder, PROGRAM, "prepare", "--input", f"{folder}/book.txt", "--output", "x", at_start=leave)
    expect(result.code == 3 and "x.lock.tmp: No such file" in result.err, result)


def odd_variables_change_no_number(folder):
    """No HOME, no TMPDIR, a locale with decimal commas or an unknown one: the same bits, and valid JSON."""
    expect(ropewalk("train", "tiny.textproto", cwd=folder).code == 0, "the plain run")
    odd = {key: value for key, value in os.environ.items() if key != "HOME"}
    odd |= {"TMPDIR": str(folder / "nowhere"), "LANG": "de_DE.UTF-8", "LC_ALL": "nonsense", "TZ": "Nowhere/None"}
    result = started(folder, PROGRAM, "train", "tiny.textproto", "--set", "output.directory=odd", env=odd)
    expect(result.code == 0 and metrics(folder, "odd") == metrics(folder), result)
    words = [*MPIRUN, "--quiet", "-n", "2", PROGRAM, "train", "tiny.textproto"]
    result = started(folder, *words, "--set", "output.directory=two", env=odd)
    expect(result.code == 0 and len(metrics(folder, "two")) == 6, result)


if __name__ == "__main__":
    sys.exit(main([closed_streams_do_not_become_files_of_the_run, a_closed_output_is_an_error_where_it_is_the_result,
                   a_file_beyond_its_limit_is_an_error_like_a_full_disk, a_signal_that_was_blocked_stops_the_run,
                   few_files_suffice_or_are_told, a_folder_that_is_gone_is_told, odd_variables_change_no_number]))
