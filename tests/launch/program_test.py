"""The program as users start it: help, wrong command lines, wrong configurations, and their exit codes."""
import bz2
import gzip
import io
import lzma
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tarfile
import time
import zipfile

from program import PROGRAM, ROOT, expect, main, ranks, ropewalk, run

CONFIG = str(ROOT / "configs/quickstart.textproto")
VERBS = {"prepare": ["--input", "--format", "--json-key", "--separator", "--skip-bad-lines", "--output", "--tokenizer", "--overwrite"],
         "train": ["--set", "--resume-from", "--start-deadline", "--plain"],
         "evaluate": ["--set", "--start-deadline", "--step", "--samples", "--json", "--checkpoint", "--requests", "--output", "--overwrite", "--tokenizer",
                      "--mesh", "--batch-tokens"],
         "import": ["--output", "--ignore-key"],
         "export": ["--output", "--dtype", "--max-shard-size"],
         "validate": ["--ranks", "--set", "--data", "--print"],
         "plan": ["--mesh", "--ranks", "--set", "--inference", "--json"],
         "schema": [],
         "tokenizer encode": ["--tokenizer", "--add-special-tokens"],
         "tokenizer decode": ["--tokenizer", "--keep-special-tokens"],
         "tokenizer train": ["--input", "--vocabulary", "--output", "--pattern", "--special-token", "--minimum-count", "--threads", "--overwrite"],
         "tokenizer show": ["--tokenizer"]}


def help_is_given_everywhere(_):
    """Every verb prints help, with all its options and an example."""
    for words in (["help"], ["--help"], ["-h"]):
        overview = ropewalk(*words)
        expect(overview.code == 0 and overview.err == "", overview)
        for verb in VERBS:
            expect(re.search(rf"^  {verb} ", overview.out, re.M), overview)
    for verb, options in VERBS.items():
        words = verb.split()
        pages = [ropewalk(*words, "--help"), ropewalk("help", *words), ropewalk(*words, "--nonsense", "-h")]
        for page in pages:
            expect(page.code == 0 and page.err == "" and page.out == pages[0].out, page)
            expect(page.out.startswith(f"usage: ropewalk {verb}") and "Examples:\n" in page.out, page)
            for option in options:
                expect(re.search(rf"^  {option}\b", page.out, re.M), page)


def wrong_command_lines_end_with_2(_):
    """Each prints the problem and the nearest valid word, on stderr."""
    for words, said in [([], "no verb is given"),
                        (["trian"], "'trian' is not a verb of ropewalk; did you mean train?"),
                        (["tokeniser", "train"], "'tokeniser' is not a verb of ropewalk; did you mean tokenizer?"),
                        (["tokenizer", "trian"], "needs a second word: encode, decode, train, show; did you mean tokenizer train?;"),
                        (["tokenizer", "x"], "needs a second word: encode, decode, train, show; `"),
                        (["help", "prepar"], "did you mean prepare?"),
                        (["train"], "train needs CONFIG"),
                        (["train", ""], "train is given an empty name for CONFIG"),
                        (["train", "a", "b"], "train does not expect the argument 'b'"),
                        (["prepare", "--input", "", "--output", "b"], "the name of an --input is empty"),
                        (["prepare", "--input", "a", "--output", ""], "--output '' names no file"),
                        (["train", "a", "--resume-form"], "did you mean --resume-from?"),
                        (["prepare", "--input", "a"], "prepare needs --output PREFIX"),
                        (["prepare", "--input", "a", "--output", "b", "--format", "xml"], "must be extension, text or jsonl"),
                        (["validate", "a", "--ranks", "two"], "--ranks two must be a whole number"),
                        (["plan", CONFIG, "--mesh", "x"], "there is no axis \"x\"; write dp=N,cp=N,tp=N"),
                        (["plan", CONFIG, "--mesh", ""], "there is no axis"),
                        (["plan", CONFIG, "--mesh", "cp=2,cp=2"], "cp is given twice"),
                        (["plan", CONFIG, "--mesh", "cp"], "cp must be a number from 1 to"),
                        (["plan", CONFIG, "--mesh", "cp=2x"], "cp must be a number from 1 to"),
                        (["plan", CONFIG, "--mesh", "tp=3"], "parallel.tensor_parallel"),
                        (["schema", "now"], "schema does not expect the argument 'now'")]:
        result = ropewalk(*words)
        expect(result.code == 2 and result.out == "" and said in result.err, result)


def schema_and_version_are_in_the_program(folder):
    """`ropewalk schema` prints exactly configs/ropewalk.proto, in any working directory."""
    schema = ropewalk("schema", cwd=folder)
    expect(schema.code == 0 and schema.out == (ROOT / "configs/ropewalk.proto").read_text(), schema)
    version = ropewalk("--version")
    expect(version.code == 0 and re.fullmatch(
        r"ropewalk \d+\.\d+\.\d+ \(commit (?:[0-9a-f]{7,40}(?:, modified)?|unknown), \w+, \w+ [\d.]+\)\n", version.out), version)
    expect(version.out == ropewalk("version").out, version)


def prepare_writes_or_says_why(folder):
    """Plain lines if stderr is not a terminal; an existing output, bad text and missing files have their exit codes."""
    done = ropewalk("prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(done.code == 0 and "\r" not in done.err and "\033" not in done.err, done)
    expect("1 document, 5501 tokens below 257 (u16), from 1 file" in done.err and "wrote new.bin" in done.err, done)
    again = ropewalk("prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(again.code == 2 and "new.bin exists; choose another --output, or replace it by --overwrite" in again.err, again)
    expect(ropewalk("prepare", "--input", "book.txt", "--output", "new", "--overwrite", cwd=folder).code == 0, again)

    missing = ropewalk("prepare", "--input", "nothing.txt", "--output", "x", cwd=folder)
    expect(missing.code in (2, 3) and "nothing.txt" in missing.err, missing)
    (folder / "bad.jsonl").write_text('{"text": "good"}\n{"text": 5}\n')
    bad = ropewalk("prepare", "--input", "bad.jsonl", "--output", "x", cwd=folder)
    expect(bad.code == 3 and "bad.jsonl:2: " in bad.err and "leave such lines out by --skip-bad-lines" in bad.err, bad)
    skipping = ropewalk("prepare", "--input", "bad.jsonl", "--output", "x", "--skip-bad-lines", cwd=folder)
    expect(skipping.code == 0 and "skipped 1 bad line:\n" in skipping.err, skipping)
    (folder / "bad.jsonl").write_text('{"text": "good"}\n' + "worse\n" * 11)
    skipping = ropewalk("prepare", "--input", "bad.jsonl", "--output", "x", "--skip-bad-lines", "--overwrite", cwd=folder)
    expect("skipped 11 bad lines, the first 10:\n" in skipping.err and skipping.err.count("bad.jsonl:") == 10, skipping)
    unknown = ropewalk("prepare", "--input", "book.txt", "--output", "y", "--tokenizer", "bites", cwd=folder)
    expect(unknown.code == 2 and "bytes" in unknown.err, unknown)


def separators_are_written_as_in_c(folder):
    """A shell passes '\\n' as two characters. A separator that does not occur in the text gives a warning, an invalid one an error."""
    (folder / "poems.txt").write_text("one\n\ntwo\n\nthree\tfour\\five")
    for separator, documents in [(r"\n\n", 3), (r"\x0a\n", 3), ("\n\n", 3), (r"\t", 2), (r"\\", 2), (r"o\n", 2)]:
        done = ropewalk("prepare", "--input", "poems.txt", "--output", "x", "--separator", separator, "--overwrite", cwd=folder)
        expect(done.code == 0 and f"{documents} documents, " in done.err and "warning" not in done.err, done)
    done = ropewalk("prepare", "--input", "poems.txt", "--output", "x", "--separator", r"\r", "--overwrite", cwd=folder)
    expect(done.code == 0 and "warning: the --separator does not occur in the text" in done.err, done)
    for wrong in (r"\q", r"\x0", r"\xg0", "a\\"):
        result = ropewalk("prepare", "--input", "poems.txt", "--output", "y", "--separator", wrong, cwd=folder)
        expect(result.code == 2 and "is not a valid escape" in result.err, result)


def prepare_reads_standard_input(folder):
    """Standard input as - or /dev/stdin, together with other inputs."""
    for name in ("-", "/dev/stdin"):
        done = ropewalk("prepare", "--input", name, "book.txt", "--output", "x", "--overwrite", cwd=folder, input="some text")
        expect(done.code == 0 and "2 documents, 5511 tokens" in done.err, done)


def a_signal_takes_back_what_prepare_wrote(folder):
    """During the work, or during a wait for input; the exit code is 128 + the signal's number."""
    (folder / "old.txt").write_text("old")
    expect(ropewalk("prepare", "--input", "old.txt", "--output", "x", cwd=folder).code == 0, "the old data")
    before = {name: (folder / name).read_bytes() for name in ("x.bin", "x.idx", "x.dataset.json")}
    os.mkfifo(folder / "pipe")
    for number, source in [(signal.SIGINT, "-"), (signal.SIGTERM, "-"), (signal.SIGHUP, "pipe"), (signal.SIGTERM, "/dev/zero")]:
        job = subprocess.Popen([PROGRAM, "prepare", "--input", source, "--output", "x", "--overwrite"], cwd=folder,
                               stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        job.stdin.write("some text\n")
        job.stdin.flush()
        end = time.time() + 30
        while not (folder / "x.idx.tmp").exists() and time.time() < end:
            time.sleep(0.01)
        job.send_signal(number)
        said = job.communicate(timeout=30)[1]
        expect(job.returncode == 128 + number, f"{source}: {job.returncode}\n{said}")
        expect("stopped by a signal; nothing was written" in said, said)
        expect({path.name: path.read_bytes() for path in folder.glob("x.*")} == before, "the files")


def one_prepare_at_a_time_writes_a_prefix(folder):
    """A second one is refused, and its error names the first. Leftovers of a killed one do not block the next."""
    os.mkfifo(folder / "pipe")
    for ending in ("done", "killed"):
        first = subprocess.Popen([PROGRAM, "prepare", "--input", "pipe", "--output", "x", "--overwrite"], cwd=folder,
                                 stderr=subprocess.PIPE, text=True)
        with open(folder / "pipe", "w") as pipe:
            pipe.write("slow text")
            pipe.flush()  # before the reader may be killed
            end = time.time() + 30
            while not (folder / "x.idx.tmp").exists() and time.time() < end:
                time.sleep(0.01)
            second = ropewalk("prepare", "--input", "book.txt", "--output", "x", "--overwrite", cwd=folder)
            expect(second.code == 2 and f"x is being written by another prepare (process {first.pid} on " in second.err, second)
            if ending == "killed":
                first.kill()
        said = first.communicate(timeout=30)[1]
        expect(first.returncode == (0 if ending == "done" else -signal.SIGKILL), said)
        expect((folder / "x.bin").stat().st_size == 2 * len("slow text.") and (folder / "x.idx").exists(), "the first's files")
        expect((folder / "x.bin.tmp").exists() == (ending == "killed"), "what is left")
    expect(ropewalk("prepare", "--input", "book.txt", "--output", "x", cwd=folder).code == 2, "x.bin exists")
    third = ropewalk("prepare", "--input", "book.txt", "--output", "x", "--overwrite", cwd=folder)
    expect(third.code == 0 and "5501 tokens" in third.err and not list(folder.glob("x.*.tmp")), third)


def inputs_are_named_for_what_they_are(folder):
    """The error names the type of an input that is not text, whatever its extension, also on a pipe; nothing is written."""
    lines = b'{"text": "some text"}\n' * 20
    tarred = io.BytesIO()
    with tarfile.open(fileobj=tarred, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("book.txt"))
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("book.txt", "text")
    for data, said in [(gzip.compress(gzip.compress(lines)), "compressed again, by gzip"),
                       (gzip.compress(tarred.getvalue()), "a tar archive"), (bz2.compress(lines), "compressed by bzip2"),
                       (lzma.compress(lines), "compressed by xz"), (tarred.getvalue(), "a tar archive"), (zipped.getvalue(), "a zip archive"),
                       (lines.decode().encode("utf-16"), "UTF-16"), (lines.decode().encode("utf-16-be"), "UTF-16"),
                       (lines.decode().encode("utf-32"), "UTF-32"), ((folder / "text.idx").read_bytes(), "the index of a dataset")]:
        (folder / "lie.jsonl").write_bytes(data)
        for inputs in (["lie.jsonl"], ["book.txt", "lie.jsonl", "--skip-bad-lines"]):
            result = ropewalk("prepare", "--input", *inputs, "--output", "x", cwd=folder)
            expect(result.code == 3 and f"lie.jsonl is {said}" in result.err, result)
        with open(folder / "lie.jsonl", "rb") as pipe:
            result = subprocess.run([PROGRAM, "prepare", "--input", "-", "--output", "x"], cwd=folder, stdin=pipe, capture_output=True,
                                    text=True, check=False)
        expect(result.returncode == 3 and f"/dev/stdin is {said}" in result.stderr, result.stderr)
    expect(not list(folder.glob("x.*")), "files")
    (folder / "lines.jsonl").write_bytes(gzip.compress(lines))
    with open(folder / "lines.jsonl", "rb") as pipe:
        result = subprocess.run([PROGRAM, "prepare", "--input", "-", "lines.jsonl", "--format", "jsonl", "--output", "x", "--threads", "3"],
                                cwd=folder, stdin=pipe, capture_output=True, text=True, check=False)
    expect(result.returncode == 0 and "40 documents, 400 tokens" in result.stderr, result.stderr)
    (folder / "lines.txt").write_bytes(lines)
    result = ropewalk("prepare", "--input", "lines.txt", "--output", "x", "--overwrite", cwd=folder)
    expect(result.code == 0 and "read as text, though they look like JSON lines" in result.err and "  lines.txt" in result.err, result)


def linked_folders_are_followed_or_told(folder):
    """Links in a folder are followed, and each file is read once; a broken link is a missing file."""
    for name in ("in/real", "elsewhere/sub"):
        (folder / name).mkdir(parents=True)
        (folder / name / "a.txt").write_text(name)
    (folder / "in/linked").symlink_to("../elsewhere/sub")
    (folder / "in/loop").symlink_to(".")
    result = ropewalk("prepare", "--input", "in", "--output", "x", cwd=folder)
    expect(result.code == 0 and "2 documents, " in result.err, result)
    expect("left out 1 entry of a folder:\n  in/loop is the same as in, which is read already\n" in result.err, result)
    (folder / "in/gone.txt").symlink_to("nowhere.txt")
    result = ropewalk("prepare", "--input", "in", "--output", "y", cwd=folder)
    expect(result.code == 3 and "cannot read in/gone.txt: No such file" in result.err and "a link to nowhere.txt" in result.err, result)


def files_that_may_not_grow_are_an_error(folder):
    """A file size limit (ulimit -f), with its signal ignored, is an error like a full disk, and leaves no files."""
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
    result = subprocess.run([PROGRAM, "prepare", "--input", "book.txt", "--output", "x"], cwd=folder, capture_output=True, text=True,
                            check=False, preexec_fn=limit)
    expect(result.returncode == 3 and "cannot write x.bin.tmp: File too large; raise" in result.stderr, result.stderr)
    expect(not list(folder.glob("x.*")), "files")


def what_cannot_be_written_is_an_error(folder):
    """Standard output on a full disk is an error."""
    for words in (["help"], ["train", "--help"], ["version"], ["schema"], ["validate", "tiny.textproto"],
                  ["validate", "tiny.textproto", "--print"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run([PROGRAM, *words], cwd=folder, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        expect(done.returncode == 1, f"{words}: {done.returncode}")
        expect("ropewalk: cannot write to standard output: No space left on device" in done.stderr, done.stderr)


def validate_looks_at_every_token(folder):
    """A file of the right size with wrong contents is an error, which names the first bad token and its document."""
    sound = (folder / "text.bin").read_bytes()
    for at, value, said in [(0, b"\x60\xea", "token 0 (byte 0, in document 0) is 60000; tokens must be in [0, 257): raise"),
                            (5500, b"\xff\xff", "token 5500 (byte 11000, in document 0) is 65535")]:
        (folder / "text.bin").write_bytes(sound[:2 * at] + value + sound[2 * at + 2:])
        result = ropewalk("validate", "tiny.textproto", "--data", cwd=folder)
        expect(result.code == 3 and result.out == "" and said in result.err, result)
        expect(ropewalk("validate", "tiny.textproto", cwd=folder).code == 0, result)


def validate_tells_without_running(folder):
    """Nothing is written; --print gives a configuration that can be loaded; --data checks the data."""
    result = ropewalk("validate", "tiny.textproto", "--ranks", "2", "--set", "parallel.tensor_parallel=2", cwd=folder)
    expect(result.code == 0 and "2 ranks (data 1 x context 1 x tensor 2)" in result.out, result)
    whole = ropewalk("validate", "tiny.textproto", "--print", cwd=folder)
    (folder / "whole.textproto").write_text(whole.out)
    expect("beta2: 0.95" in whole.out, whole)
    expect(ropewalk("validate", "whole.textproto", "--print", cwd=folder).out == whole.out, whole)
    data = ropewalk("validate", "tiny.textproto", "--data", cwd=folder)
    facts = "text: 5501 tokens in 1 document, all in [0, 257); 81 sequences of 64 tokens an epoch, and 4 for validation; "
    tokenizer = "tokenizer: bytes (257 tokens)\n"
    said = facts + "the run takes 0.148 epochs\n" + tokenizer  # 6 steps of 2 sequences
    expect(data.code == 0 and data.out.endswith(f"tensor 1)\n{said}"), data)
    both = ropewalk("validate", "tiny.textproto", "--data", "--print", cwd=folder)
    expect(both.out == whole.out and both.err == said, both)
    stages = ["--set", "training.stages.0.first_step=3", "--set", "training.stages.0.sequence_length=100",
              "--set", "training.stages.1.first_step=5"]
    staged = ropewalk("validate", "tiny.textproto", "--data", *stages, "--set", "training.stages.1.theta=1e6", cwd=folder)
    longer = facts.replace("81 sequences of 64", "52 sequences of 100").replace("and 4 for", "and 2 for")
    expect(staged.code == 0 and ": 4 layers, 3 stages, 1 rank" in staged.out, staged)
    expect(staged.out.endswith(f"tensor 1)\n{facts}the stage takes 0.0741 epochs\nafter step 3: {longer}the stage takes 0.0769 epochs\n"
                               f"after step 5: {longer}the stage takes 0.0385 epochs\n{tokenizer}"), staged)
    (folder / "other.bin").write_bytes((folder / "text.bin").read_bytes())
    (folder / "other.idx").write_bytes((folder / "text.idx").read_bytes())
    blend = '[{prefix: "text" weight: 3}, {prefix: "other" weight: 1}]'
    blended = ropewalk("validate", "tiny.textproto", "--data", *stages, "--set", f"training.stages.1.blend={blend}", cwd=folder)
    expect(blended.out.endswith(f"after step 5: 0.75 of the samples from {longer}the stage takes 0.0288 epochs\n"
                                f"after step 5: 0.25 of the samples from {longer.replace('text', 'other')}the stage takes 0.00962 epochs\n"
                                f"{tokenizer}"), blended)
    for setting, code, message in [("prefix=absent", 3, "cannot read absent.idx"), ("batch=-1", 2, "training.stages.1.batch = -1: must"),
                                   ("sequence_length=5300", 3, "takes the sequence_length of the stage from step 5 on + 1 = 5301")]:
        staged = ropewalk("validate", "tiny.textproto", "--data", *stages, "--set", f"training.stages.1.{setting}", cwd=folder)
        expect(staged.code == code and message in staged.err, staged)
    absent = ropewalk("validate", "tiny.textproto", "--data", "--set", "data.prefix=absent", cwd=folder)
    expect(absent.code == 3 and "cannot read absent.idx: No such file" in absent.err, absent)
    expect("`ropewalk prepare --input FILE... --output absent`" in absent.err, absent)
    narrow = ropewalk("validate", "tiny.textproto", "--set", "parallel.device=CUDA", cwd=folder)
    expect(narrow.code == 2 and "model.head_size = 8: must be 64 or 128 with parallel.device CUDA" in narrow.err, narrow)
    for verb in ("validate", "plan"):
        expect(ropewalk(verb, "tiny.textproto", *ON_CUDA, cwd=folder).code == 0, "that needs no device")
    expect(not (folder / "run").exists(), result)


def all_problems_come_at_once_and_once(folder):
    """A wrong configuration gives exit code 2 and a list of all problems; only one of several ranks prints it."""
    (folder / "wrong.textproto").write_text(CONFIG_WITH_PROBLEMS)
    for result in (ropewalk("train", "wrong.textproto", cwd=folder), ropewalk("validate", "wrong.textproto", cwd=folder),
                   ranks(4, "train", "wrong.textproto", cwd=folder), ranks(4, "validate", "wrong.textproto", cwd=folder)):
        expect(result.code == 2 and result.err.count("wrong.textproto has 4 problems:") == 1, result)
        for said in ("wrong.textproto:2:11: model.layers = 0: must be at least 1",
                     "wrong.textproto:2:21: model.widht is not a field of the configuration; did you mean model.width?",
                     "training.steps is not set; add steps: 1000 to training { }",
                     "wrong.textproto:5:16: training.batch = -1: must be at least 1"):
            expect(result.err.count(said) == 1, result)


CONFIG_WITH_PROBLEMS = """
  model { layers: 0 widht: 64 hidden: 96 query_heads: 4 key_heads: 2 head_size: 16 vocabulary: 257 pattern {} }
  data { prefix: "text" sequence_length: 64 }
  output { directory: "run" }
    training { batch: -1 }
"""


ON_CUDA = ["--set", "parallel.device=CUDA", "--set", "model.head_size=64"]


def a_device_that_is_not_there_is_told_once(folder):
    """A build without CUDA, or a host without a device: one rank prints what to do."""
    for count in (1, 2):
        result = ranks(count, "train", "tiny.textproto", *ON_CUDA, cwd=folder, env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})
        expect(result.code in (2, 7) and result.err.count("set parallel.device to CPU") == 1, result)
        expect(not (folder / "run").exists(), result)


def a_module_of_another_build_is_not_called(folder):
    """A module built from other headers, one without an interface version, and a truncated file."""
    another = pathlib.Path(os.environ["ANOTHER_MODULE"]).read_bytes()
    silent = another.replace(b"ropewalk_cuda_interface", b"ropewalk_cuda_interfacf")
    for name, module, said in (("another", another, "(interface 0123456789ab, this"), ("silent", silent, "(interface unknown, this"),
                               ("cut", another[:40], "cannot be loaded")):
        (folder / name).mkdir()
        (folder / name / "libropewalk_cuda.so").write_bytes(module)
        result = ropewalk("train", "tiny.textproto", *ON_CUDA, cwd=folder, env={**os.environ, "LD_LIBRARY_PATH": str(folder / name)})
        expect(result.code == 2 and said in result.err and "set parallel.device to CPU" in result.err, result)
        expect(f"{folder}/{name}/libropewalk_cuda.so" in result.err and not (folder / "run").exists(), result)


def failures_of_all_ranks_are_told_once(folder):
    """A missing file, missing data, a mesh that does not fit, a wrong word: one message each, with its exit code."""
    for words, code, said in [(["train", "absent.textproto"], 2, "cannot read absent.textproto: No such file"),
                              (["train", "tiny.textproto", "--set", "data.prefix=absent"], 3, "absent.idx"),
                              (["train", "tiny.textproto", "--set", "parallel.context_parallel=3"], 2, "number of ranks, which is 2"),
                              (["train", "tiny.textproto", "--sett"], 2, "did you mean --set?"),
                              (["trian"], 2, "did you mean train?")]:
        result = ranks(2, *words, cwd=folder)
        expect(result.code == code and result.err.count(said) == 1, result)
        expect("MPI_ABORT" not in result.err, result)


def other_verbs_run_on_one_rank(folder):
    """Under mpirun, verbs of one rank run on rank 0 only."""
    result = ranks(3, "version", cwd=folder)
    expect(result.code == 0 and result.out.count("ropewalk") == 1, result)
    result = ranks(3, "prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(result.code == 0 and result.err.count("wrote new.idx") == 1, result)
    result = ranks(4, "validate", "tiny.textproto", "--set", "parallel.tensor_parallel=2", cwd=folder)
    expect(result.code == 0 and "4 ranks (data 2 x context 1 x tensor 2)" in result.out, result)


def with_variables(**variables):
    return {**os.environ, **variables}


def launchers_that_mpi_does_not_know_are_refused(folder):
    """Otherwise N processes would each train alone and overwrite each other's files. The error comes before MPI_Init, which would abort."""
    gone = {"PMIX_RANK": "1", "PMIX_NAMESPACE": "x", "PMIX_SERVER_URI2": "x.0;tcp4://127.0.0.1:1"}
    for variables, remedy in (({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_ID": "1"}, "srun --mpi=pmix -n 2 " + PROGRAM),
                              ({"WORLD_SIZE": "2", "RANK": "1"}, f"env --unset=WORLD_SIZE {PROGRAM} train tiny.textproto"),
                              ({"PMI_SIZE": "2", "PMI_RANK": "1"}, "mpirun -n 2 --hostfile HOSTS "),
                              ({"WORLD_SIZE": "64", "RANK": "1", "LOCAL_WORLD_SIZE": "8"}, "mpirun -n 64 --hostfile HOSTS " + PROGRAM),
                              ({"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "1", **gone}, "mpirun -n 2 ")):
        result = ropewalk("train", "tiny.textproto", cwd=folder, env=with_variables(**variables))
        expect(result.code == 2 and re.search("the job has (2|64) ranks", result.err) and remedy in result.err, result)
        expect("MPI_Init" not in result.err and not (folder / "run").exists(), result)


def line_in(said, program="mpirun"):
    """The only command of a message."""
    lines = [line for line in said.splitlines() if line.startswith("    ")]
    expect(len(lines) == 1 and lines[0].startswith(f"    {program} "), said)
    return lines[0]


def without_permissions():
    return {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "SLURM_"))}


# Words before a command: it and its parent, a shell, may use one CPU.
ON_ONE_CPU = ["taskset", "-c", str(min(os.sched_getaffinity(0))), "sh", "-c", '"$@"; exit $?', "sh"]


def a_start_without_mpirun_prints_the_line(folder):
    """The line has the options that this user and machine need, and works as it stands: for root and for anybody, on all CPUs and on one."""
    folder.chmod(0o777)
    words = ["train", "tiny.textproto", "--set", "parallel.context_parallel=3", "--set", "training.steps=2"]
    as_nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    for user in ([], as_nobody) if os.geteuid() == 0 else ([],):
        for cpus in ([], ON_ONE_CPU):
            mine = ["--set", f"output.directory=it's a run of {user[1:2]}{cpus[2:3]}"]
            result = run(*user, *cpus, PROGRAM, *words, *mine, cwd=folder, env=without_permissions())
            expect(result.code == 2 and "to start 3 ranks:" in result.err, result)
            line = line_in(result.err)
            expect(("--allow-run-as-root" in line) == (os.geteuid() == 0 and not user), line)
            expect("--oversubscribe --bind-to none --mca mpi_yield_when_idle 1" in line or not cpus, line)
            environment = {**without_permissions(), "HOME": str(folder), "TMPDIR": str(folder)}
            result = run(*user, *cpus, "sh", "-c", line, cwd=folder, env=environment)
            expect(result.code == 0 and "3 ranks on 1 host" in result.err and "step 2/2" in result.err, result)


def a_line_works_whatever_open_mpi_s_variables_say(folder):
    """Variables that forbid more ranks than cores, or that place ranks, and permissions that are none."""
    variables = {"OMPI_MCA_rmaps_base_no_oversubscribe": "1", "OMPI_MCA_rmaps_base_mapping_policy": "ppr:1:node",
                 "OMPI_ALLOW_RUN_AS_ROOT": "0", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "0"}
    environment = {**without_permissions(), **variables}
    result = ropewalk("train", "tiny.textproto", "--set", "parallel.context_parallel=3", cwd=folder, env=environment)
    result = run("sh", "-c", line_in(result.err, "env"), cwd=folder, env=environment)
    expect(result.code == 0 and "3 ranks on 1 host" in result.err, result)


def a_start_with_too_many_or_too_few_ranks_says_how_many(folder):
    """The nearest count below that fits, once, and no command: mpirun's other options are the user's."""
    for count, mesh, fitting in ((3, 2, 2), (5, 2, 4), (2, 3, 3)):
        result = ranks(count, "train", "tiny.textproto", "--set", f"parallel.context_parallel={mesh}", "--set", "training.batch=4", cwd=folder)
        expect(result.code == 2 and f"start {fitting} ranks, or change one" in result.err, result)
        expect(result.err.count(f"to start {fitting} ranks: start mpirun with -n {fitting} and your other options\n") == 1, result)
        expect("mpirun -n" not in result.err, result)


def a_slurm_job_is_told_one_command(folder):
    """In a batch script, in a shell of salloc and in a step of one task: srun's line, and no note on a run of one rank."""
    batch = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "8", "SLURM_NNODES": "4"}
    step = {**batch, "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
    for variables in (batch, step):
        result = ropewalk("train", "tiny.textproto", "--set", "parallel.context_parallel=4", cwd=folder, env={**without_permissions(), **variables})
        expect(result.code == 2 and "srun --mpi=pmix -n 4 " in line_in(result.err, "srun"), result)


def ranks_that_share_a_cpu_are_told_options(folder):
    """Ranks that one CPU has, and that do not yield it; with the options neither is so."""
    words = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--quiet", "-n", "2"]
    train = [PROGRAM, "train", "tiny.textproto"]
    result = run(*words, "--bind-to", "none", *ON_ONE_CPU[:3], *train, cwd=folder, env=without_permissions())
    expect(result.code == 0 and "1 CPU" in result.err and "a rank that waits inside MPI keeps its CPU busy; start mpirun with" in result.err, result)
    options = re.search("; start mpirun with (.*)", result.err)[1].split()
    result = run(*words, *options, *train, "--set", "output.directory=again", cwd=folder, env=without_permissions())
    expect(result.code == 0 and "start mpirun with" not in result.err, result)
    expect("warning" not in result.err or len(os.sched_getaffinity(0)) < 2, result)


def what_needs_no_ranks_is_done_whatever_the_environment_says(folder):
    """Launcher variables may be left over in a shell: verbs of one rank run in spite of them."""
    others = with_variables(RANK="1", WORLD_SIZE="2", PMI_RANK="1", PMI_SIZE="2", SLURM_PROCID="1", SLURM_STEP_NUM_TASKS="2")
    result = ropewalk("prepare", "--input", "book.txt", "--output", "other", cwd=folder, env=others)
    expect(result.code == 0 and "wrote other.idx" in result.err and (folder / "other.bin").exists(), result)
    for words, said in ((["validate", "tiny.textproto"], "1 rank ("), (["plan", "tiny.textproto"], "on 1 rank"), (["schema"], "message Config"),
                        (["help"], "usage: ropewalk VERB"), (["version"], "ropewalk ")):
        result = ropewalk(*words, cwd=folder, env=others)
        expect(result.code == 0 and said in result.out, result)
    result = ropewalk("trian", cwd=folder, env=others)
    expect(result.code == 2 and "did you mean train?" in result.err, result)


def one_rank_needs_no_mpi(folder):
    """A single task of Slurm, torchrun or mpirun trains alone; inside a larger batch job it prints a note."""
    step = {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_NTASKS": "1"}
    for number, (variables, note) in enumerate(((step, ""), ({"WORLD_SIZE": "1", "RANK": "0"}, ""),
                                                ({"SLURM_JOB_ID": "1", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, "has 4 tasks"))):
        result = ropewalk("train", "tiny.textproto", "--set", f"output.directory=run{number}", cwd=folder, env=with_variables(**variables))
        expect(result.code == 0 and "1 rank on 1 host" in result.err and "; no MPI" in result.err and note in result.err, result)
        expect(note or "Slurm" not in result.err, result)
    result = ranks(1, "train", "tiny.textproto", cwd=folder)
    expect(result.code == 0 and "; no MPI" in result.err, result)


if __name__ == "__main__":
    sys.exit(main([help_is_given_everywhere, wrong_command_lines_end_with_2, schema_and_version_are_in_the_program,
                   prepare_writes_or_says_why, separators_are_written_as_in_c, prepare_reads_standard_input,
                   a_signal_takes_back_what_prepare_wrote, one_prepare_at_a_time_writes_a_prefix,
                   inputs_are_named_for_what_they_are, linked_folders_are_followed_or_told, files_that_may_not_grow_are_an_error,
                   what_cannot_be_written_is_an_error,
                   validate_looks_at_every_token, validate_tells_without_running, all_problems_come_at_once_and_once,
                   a_device_that_is_not_there_is_told_once, a_module_of_another_build_is_not_called,
                   failures_of_all_ranks_are_told_once, other_verbs_run_on_one_rank,
                   launchers_that_mpi_does_not_know_are_refused, a_start_without_mpirun_prints_the_line,
                   a_line_works_whatever_open_mpi_s_variables_say, a_start_with_too_many_or_too_few_ranks_says_how_many,
                   a_slurm_job_is_told_one_command, ranks_that_share_a_cpu_are_told_options,
                   what_needs_no_ranks_is_done_whatever_the_environment_says, one_rank_needs_no_mpi]))
