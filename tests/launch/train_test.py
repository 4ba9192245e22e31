"""`ropewalk train` as a process, alone and under mpirun: its messages, files and exit codes."""
import ctypes
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import time

from program import MPIRUN, PROGRAM, expect, main, metrics, ranks, ranks_of, ropewalk


def runs_to_its_end(folder):
    """Four ranks, context 2 x tensor 2: exit code 0, the start line, metrics of each step, the configuration, a checkpoint."""
    mesh = ["--set", "parallel.context_parallel=2", "--set", "parallel.tensor_parallel=2"]
    result = ranks(4, "train", "tiny.textproto", *mesh, cwd=folder)
    expect(result.code == 0, result)
    expect(re.search(r"4 ranks on 1 host \(\S+ x4\); mesh: data 1 x context 2 x tensor 2; device: cpu, fp32 \([^;]+\); Open MPI v", result.err),
           result)
    steps = metrics(folder)
    expect([line["step"] for line in steps] == [1, 2, 3, 4, 5, 6], steps)
    resolved = folder / "run/config.textproto"
    mark, text = resolved.read_text().split("\n", 1)
    expect(mark.startswith("# Written by ropewalk train"), mark)
    expect(ropewalk("validate", str(resolved), "--ranks", "4", "--print").out == text, resolved)
    expect(any((folder / "run/checkpoints").iterdir()), result)
    # One rank needs no mpirun, and has the same losses to fp32 rounding: sums of about 1e4 terms, in another order, differ by
    # 1e4 * 6e-8 at the very most.
    alone = ropewalk("train", "tiny.textproto", "--set", "output.directory=alone", cwd=folder)
    expect(alone.code == 0 and "1 rank on 1 host" in alone.err, alone)
    for ours, theirs in zip(metrics(folder, "alone"), steps):
        expect(abs(ours["loss"] - theirs["loss"]) < 6e-4, (ours, theirs))


def deny_tile_registers():
    """In a child process: the system call that asks for tile registers fails with EPERM from now on (seccomp)."""
    load, equal, answer = 0x20, 0x15, 0x06  # the instructions of the filter: code, jumps if true and if not, operand
    arch_prctl, ask, errno_eperm, allow = 158, 0x1023, 0x00050001, 0x7FFF0000
    steps = [(load, 0, 0, 0), (equal, 0, 3, arch_prctl), (load, 0, 0, 16), (equal, 0, 1, ask), (answer, 0, 0, errno_eperm), (answer, 0, 0, allow)]
    filters = b"".join(struct.pack("HBBI", *step) for step in steps)
    kept = ctypes.create_string_buffer(filters, len(filters))
    program = struct.pack("HxxxxxxP", len(steps), ctypes.addressof(kept))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):  # PR_SET_NO_NEW_PRIVS; PR_SET_SECCOMP, a filter
        os._exit(77)


def tile_registers_that_the_system_refuses_are_told(folder):
    """Once, with the reason; the run uses what is left. Only in bf16, and only on a processor that has them."""
    words = [PROGRAM, "train", "tiny.textproto", "--set", "training.steps=1"]
    bf16 = ["--set", "training.precision=BF16", "--set", "output.directory=bf16"]

    def told(words, **options):
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120, check=False, **options)
        if done.returncode == 77:
            print("skipped: seccomp is not available")
            return None
        expect(done.returncode == 0, done)
        return done.stderr

    free = told([*words, *bf16])
    expect(re.search(r"; device: cpu, bf16 [^;]+; no MPI\n", free) and "cannot use" not in free, free)
    if "bf16 on AMX;" not in free or not (denied := told([*words, *bf16, "--set", "training.steps=2"], preexec_fn=deny_tile_registers)):
        return
    warning = "cannot use AMX: the system refuses tile registers to this process: Operation not permitted; ranks there compute more slowly\n"
    expect("; device: cpu, bf16 on AVX512-BF16; " in denied and denied.count(warning) == 1, denied)
    expect("cannot use" not in told([*words, "--set", "output.directory=fp32"], preexec_fn=deny_tile_registers), "fp32 needs no tiles")


def a_second_signal_ends_at_once(folder):
    """A second signal does not wait for the step. The job is one process, without a launcher that would intercept signals."""
    job = subprocess.Popen([PROGRAM, "train", "tiny.textproto", "--set", "data.sequence_length=4096", "--set", "training.batch=512",
                            "--set", "data.validation_fraction=0"], cwd=folder, stderr=subprocess.PIPE, text=True)
    try:
        job.stderr.readline()  # the start line: signals are caught from now on, and the first step takes far longer than the test
        time.sleep(0.5)
        job.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        expect(job.poll() is None, "the first signal should wait for the step")
        job.send_signal(signal.SIGTERM)
        expect(job.wait(timeout=10) == -signal.SIGTERM, job.returncode)
    finally:
        job.kill()
        job.communicate()


def one_failing_rank_ends_the_job(folder):
    """Only rank 0 cannot write: it reports that with rank and host, and the other rank does not wait forever."""
    (folder / "run").write_text("in the way")
    begin = time.monotonic()
    result = ranks(2, "train", "tiny.textproto", cwd=folder)
    expect(result.code == 2 and re.search(r"ropewalk: rank 0 on \S+: .*run", result.err), result)
    expect(time.monotonic() - begin < 30, result)  # far below the deadline of 60 s


def draws_its_progress_through_mpirun(folder):
    """mpirun's ranks write to pipes, but mpirun to the terminal: the progress line is redrawn there, and --plain suppresses it."""
    for option, drawn in (([], True), (["--plain"], False)):
        terminal, ours = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "CI": ""}
        words = [*MPIRUN, "-n", "2", PROGRAM, "train", "tiny.textproto", *option, "--set", f"output.directory=drawn{drawn}"]
        job = subprocess.Popen(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=ours, stderr=ours)
        os.close(ours)
        output = b""
        try:
            while chunk := os.read(terminal, 65536):
                output += chunk
        except OSError:  # the other end of the terminal is closed
            pass
        expect(job.wait() == 0, output)
        expect((b"\x1b[36m[" in output) == drawn and b"6/6" in output, output)  # the coloured bar


def a_rank_that_hangs_is_named(folder):
    """A waiting rank names the hanging one, with its world rank and host, in a few lines."""
    mesh = ["--set", "parallel.context_parallel=2", "--set", "parallel.tensor_parallel=2"]
    words = [*MPIRUN, "--quiet", "-n", "4", PROGRAM, "train", "tiny.textproto", *mesh,
             "--set", "parallel.deadline_seconds=2", "--set", "training.steps=1000000"]
    job = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        while not job.stdout.readline().startswith("step "):
            expect(job.poll() is None, "the job ended before its first step")
        os.kill(ranks_of(job)[3], signal.SIGSTOP)
        output, _ = job.communicate(timeout=60)
    finally:
        job.kill()
    told = output[output.index("ropewalk: "):].splitlines()
    expect(job.returncode == 5, output)
    expect(re.match(r"ropewalk: rank 3 on \S+ has not answered rank [012] on \S+ for 2\.\d s: .* on axis \w+$", told[0]), output)
    expect(re.match(r"  no word from rank 3 on \S+; 3 of 4 ranks have reported$", told[1]), output)
    expect(len(told) <= 2 + 1 + 8 and "Segmentation" not in output, output)


def traces_show_what_overlaps(folder):
    """One file per rank, in the Trace Event Format; messages of the ring are in flight during attention."""
    mesh = ["--set", "parallel.context_parallel=2"]
    result = ranks(2, "train", "tiny.textproto", *mesh, "--set", "output.trace_steps=2", "--set", "output.directory=traced", cwd=folder)
    expect(result.code == 0 and "traced/trace" in result.err, result)
    for rank in range(2):
        events = json.loads((folder / f"traced/trace/rank-{rank:05}.json").read_text())["traceEvents"]
        names = {event["name"] for event in events}
        expect({"linear_forward", "attention_backward", "adamw", "all_gather", "wait", "block 0 forward", "optimizer"} <= names, names)
        expect(sum(event["name"] == "optimizer" for event in events) == 2, "two steps")
        ends = {event["id"]: event["ts"] for event in events if event["ph"] == "e"}
        flights = [(event["ts"], ends[event["id"]]) for event in events if event["ph"] == "b" and event["args"]["axis"] == "sequence"]
        attention = [(event["ts"], event["ts"] + event["dur"]) for event in events if event["name"] == "attention_forward"]
        expect(any(begin < a and b < end for begin, end in flights for a, b in attention), "nothing overlaps")
        expect(all(event["args"]["bytes"] >= 0 for event in events if event.get("cat") == "communication"), events)


if __name__ == "__main__":
    sys.exit(main([runs_to_its_end, tile_registers_that_the_system_refuses_are_told, a_second_signal_ends_at_once, one_failing_rank_ends_the_job, a_rank_that_hangs_is_named, traces_show_what_overlaps,
                   draws_its_progress_through_mpirun]))
