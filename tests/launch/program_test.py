"""The program as its users meet it: help, wrong command lines, wrong configurations, and what each ends with."""
import os
import re
import sys

from program import ROOT, expect, main, ranks, ropewalk

VERBS = {"prepare": ["--input", "--format", "--json-key", "--separator", "--skip-bad-lines", "--output", "--tokenizer", "--overwrite"],
         "train": ["--set", "--resume-from", "--plain"],
         "validate": ["--ranks", "--set", "--data", "--print"],
         "schema": []}


def help_is_given_everywhere(_):
    """Every verb explains itself, with all its options and an example."""
    for words in (["help"], ["--help"], ["-h"]):
        overview = ropewalk(*words)
        expect(overview.code == 0 and overview.err == "", overview)
        for verb in VERBS:
            expect(re.search(rf"^  {verb} ", overview.out, re.M), overview)
    for verb, options in VERBS.items():
        pages = [ropewalk(verb, "--help"), ropewalk("help", verb), ropewalk(verb, "--nonsense", "-h")]
        for page in pages:
            expect(page.code == 0 and page.err == "" and page.out == pages[0].out, page)
            expect(page.out.startswith(f"usage: ropewalk {verb}") and "Examples:\n" in page.out, page)
            for option in options:
                expect(re.search(rf"^  {option}\b", page.out, re.M), page)


def wrong_command_lines_end_with_2(_):
    """Each says what is wrong and names the nearest right word, on stderr."""
    for words, said in [([], "no verb is given"),
                        (["trian"], "'trian' is not a verb of ropewalk; did you mean train?"),
                        (["help", "prepar"], "did you mean prepare?"),
                        (["train"], "train needs CONFIG"),
                        (["train", "a", "b"], "train has no use for 'b'"),
                        (["train", "a", "--resume-form"], "did you mean --resume-from?"),
                        (["prepare", "--input", "a"], "prepare needs --output PREFIX"),
                        (["prepare", "--input", "a", "--output", "b", "--format", "xml"], "must be extension, text or jsonl"),
                        (["validate", "a", "--ranks", "two"], "--ranks two must be a whole number"),
                        (["schema", "now"], "schema has no use for 'now'")]:
        result = ropewalk(*words)
        expect(result.code == 2 and result.out == "" and said in result.err, result)


def schema_and_version_are_in_the_program(folder):
    """`ropewalk schema` prints configs/ropewalk.proto to the byte, from anywhere."""
    schema = ropewalk("schema", cwd=folder)
    expect(schema.code == 0 and schema.out == (ROOT / "configs/ropewalk.proto").read_text(), schema)
    version = ropewalk("--version")
    expect(version.code == 0 and re.match(r"ropewalk \d+\.\d+\.\d+ \(", version.out), version)
    expect(version.out == ropewalk("version").out, version)


def prepare_writes_or_says_why(folder):
    """Plain lines when stderr is no terminal; an output that exists, bad text and missing files end with their codes."""
    done = ropewalk("prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(done.code == 0 and "\r" not in done.err and "\033" not in done.err, done)
    expect("1 documents, 5501 tokens below 257 (u16), from 1 file" in done.err and "wrote new.bin" in done.err, done)
    again = ropewalk("prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(again.code == 2 and "new.bin" in again.err, again)
    expect(ropewalk("prepare", "--input", "book.txt", "--output", "new", "--overwrite", cwd=folder).code == 0, again)

    missing = ropewalk("prepare", "--input", "nothing.txt", "--output", "x", cwd=folder)
    expect(missing.code in (2, 3) and "nothing.txt" in missing.err, missing)
    (folder / "bad.jsonl").write_text('{"text": "good"}\n{"text": 5}\n')
    bad = ropewalk("prepare", "--input", "bad.jsonl", "--output", "x", cwd=folder)
    expect(bad.code == 3 and "bad.jsonl" in bad.err and "2" in bad.err, bad)
    skipping = ropewalk("prepare", "--input", "bad.jsonl", "--output", "x", "--skip-bad-lines", cwd=folder)
    expect(skipping.code == 0 and "skipped 1 bad line" in skipping.err, skipping)
    unknown = ropewalk("prepare", "--input", "book.txt", "--output", "y", "--tokenizer", "bites", cwd=folder)
    expect(unknown.code == 2 and "bytes" in unknown.err, unknown)


def validate_tells_without_running(folder):
    """Nothing is written; --print gives a configuration that loads; --data looks at the data."""
    result = ropewalk("validate", "tiny.textproto", "--ranks", "2", "--set", "parallel.tensor_parallel=2", cwd=folder)
    expect(result.code == 0 and "2 ranks (data 1 x context 1 x tensor 2)" in result.out, result)
    whole = ropewalk("validate", "tiny.textproto", "--print", cwd=folder)
    (folder / "whole.textproto").write_text(whole.out)
    expect("beta2: 0.95" in whole.out, whole)
    expect(ropewalk("validate", "whole.textproto", "--print", cwd=folder).out == whole.out, whole)
    expect("5501 tokens in 1 documents" in ropewalk("validate", "tiny.textproto", "--data", cwd=folder).err, whole)
    absent = ropewalk("validate", "tiny.textproto", "--data", "--set", "data.prefix=absent", cwd=folder)
    expect(absent.code == 3 and "absent.idx" in absent.err, absent)
    expect(not (folder / "run").exists(), result)


def all_problems_come_at_once_and_once(folder):
    """A wrong configuration ends with 2 and lists every problem; of several ranks, one speaks."""
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


def failures_of_all_ranks_are_told_once(folder):
    """A missing file, missing data, a mesh that does not fit, a wrong word: once, with their codes."""
    for words, code, said in [(["train", "absent.textproto"], 2, "cannot read absent.textproto: No such file"),
                              (["train", "tiny.textproto", "--set", "data.prefix=absent"], 3, "absent.idx"),
                              (["train", "tiny.textproto", "--set", "parallel.context_parallel=3"], 2, "number of ranks, which is 2"),
                              (["train", "tiny.textproto", "--set", "parallel.device=CUDA"], 2, "no CUDA backend"),
                              (["train", "tiny.textproto", "--sett"], 2, "did you mean --set?"),
                              (["trian"], 2, "did you mean train?")]:
        result = ranks(2, *words, cwd=folder)
        expect(result.code == code and result.err.count(said) == 1, result)
        expect("MPI_ABORT" not in result.err, result)


def other_verbs_run_on_one_rank(folder):
    """Under mpirun, what needs no ranks is done by rank 0 alone."""
    result = ranks(3, "version", cwd=folder)
    expect(result.code == 0 and result.out.count("ropewalk") == 1, result)
    result = ranks(3, "prepare", "--input", "book.txt", "--output", "new", cwd=folder)
    expect(result.code == 0 and result.err.count("wrote new.idx") == 1, result)
    result = ranks(4, "validate", "tiny.textproto", "--set", "parallel.tensor_parallel=2", cwd=folder)
    expect(result.code == 0 and "4 ranks (data 2 x context 1 x tensor 2)" in result.out, result)


def launchers_that_mpi_does_not_know_are_refused(folder):
    """N processes that each believe to be alone would train over one another's files."""
    for variables in ({"SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "1"}, {"WORLD_SIZE": "2", "RANK": "1"}):
        result = ropewalk("train", "tiny.textproto", cwd=folder, env={**os.environ, **variables})
        expect(result.code == 2 and "the job has 2 ranks" in result.err and "MPI finds 1" in result.err, result)
        expect(not (folder / "run").exists(), result)


if __name__ == "__main__":
    sys.exit(main([help_is_given_everywhere, wrong_command_lines_end_with_2, schema_and_version_are_in_the_program,
                   prepare_writes_or_says_why, validate_tells_without_running, all_problems_come_at_once_and_once,
                   failures_of_all_ranks_are_told_once, other_verbs_run_on_one_rank,
                   launchers_that_mpi_does_not_know_are_refused]))
