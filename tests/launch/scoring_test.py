"""`ropewalk evaluate --requests`: the log-probabilities of given continuations, alone and under mpirun."""
import json
import math
import os
import random
import signal
import subprocess
import sys
import time

from program import JOBS, MPIRUN, PROGRAM, expect, main, prepare_long_text, ranks, ranks_of, ropewalk

CHECKPOINT = "run/checkpoints/step-00000006"
FP64 = ["--set", "parallel.device=REFERENCE"]
# In fp64: 4 layers of some 20 operations, each a sum of at most 64 terms, on logits of about 10: 80 * 64 * 2^-53 * 10 = 6e-12.
NEAR = 1e-10


def trained(folder, *settings):
    prepare_long_text(folder)
    done = ropewalk("train", "tiny.textproto", *settings, cwd=folder)
    expect(done.code == 0, done)


def write_requests(folder, requests, name="asked.jsonl"):
    (folder / name).write_text("".join(json.dumps(request) + "\n" for request in requests))


def mixed_requests(count, longest=150, seed=5):
    """Of every length up to many windows (12 tokens)."""
    draw = random.Random(seed)

    def ids(most):
        return [draw.randrange(257) for _ in range(draw.randint(1, most))]

    return [{"context_ids": ids(longest if i % 4 == 0 else 9), "continuation_ids": ids(12), "number": i} for i in range(count)]


def score(folder, count, *words, requests="asked.jsonl", output="scores.jsonl", checkpoint=CHECKPOINT):
    """The answers; the output file is removed."""
    command = ["evaluate", "--checkpoint", checkpoint, "--requests", requests, "--output", output, *words]
    got = ropewalk(*command, cwd=folder) if count == 1 else ranks(count, *command, cwd=folder)
    expect(got.code == 0 and not got.out, got)
    text = (folder / output).read_text()
    (folder / output).unlink()
    return [json.loads(line) for line in text.splitlines()], text, got


def left_in(folder):
    """Files of scoring beside the requests."""
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("scores"))


def expect_near(answers, expected, near=NEAR):
    expect(len(answers) == len(expected), (len(answers), len(expected)))
    for number, (ours, theirs) in enumerate(zip(answers, expected)):
        expect(ours.keys() == {"logprob", "token_logprobs", "is_greedy"} and ours["is_greedy"] == theirs["is_greedy"], (number, ours, theirs))
        expect(len(ours["token_logprobs"]) == len(theirs["token_logprobs"]), (number, ours, theirs))
        for one, other in zip(ours["token_logprobs"], theirs["token_logprobs"]):
            expect(abs(one - other) < near, (number, one, other))
        expect(ours["logprob"] == sum(ours["token_logprobs"]) < 0, ours)


def answers_do_not_depend_on_the_mesh(folder):
    """In the order asked, on every mesh of 1, 2 and 4 ranks, in many windows or in one; the same bits twice."""
    trained(folder)
    requests = mixed_requests(60)
    write_requests(folder, requests)
    alone, _, _ = score(folder, 1, *FP64, "--batch-tokens", "1")  # each is a sequence of its own
    expect([len(answer["token_logprobs"]) for answer in alone] == [len(request["continuation_ids"]) for request in requests], alone)
    expect(len({answer["logprob"] for answer in alone}) == len(alone), "the order would not show")
    for mesh in ("", "dp=2", "cp=2", "tp=2", "dp=4", "cp=4", "tp=4", "dp=2,cp=2", "dp=2,tp=2", "cp=2,tp=2"):
        count = math.prod(int(axis.split("=")[1]) for axis in mesh.split(",")) if mesh else 2
        words = ["--mesh", mesh] if mesh else []
        for batch in (["--batch-tokens", "16"], []):  # 16: windows of 256 tokens, and sequences shorter than 2 x cp at their ends
            answers, text, got = score(folder, count, *FP64, *words, *batch)
            expect(f"{count} ranks on 1 host" in got.err and "60 requests of together" in got.err, got)
            expect_near(answers, alone)
        if count == 4:
            expect(text == score(folder, count, *FP64, *words, *batch)[1], (mesh, "other bits the second time"))
    one = score(folder, 1)[0]
    # In fp32: 4e-6 of logits of at most 10, as in evaluate_test.py.
    expect_near([{**answer, "is_greedy": theirs["is_greedy"]} for answer, theirs in zip(one, alone)], alone, 4e-5)


def text_is_encoded(folder):
    """Bytes; an empty context is the end of a document, 256."""
    trained(folder)
    pairs = [("All work", " and no play"), ("", "makes"), ("\u00fc\u2603", " \u00e9\n"), ("a", "b")]
    write_requests(folder, [{"context": context, "continuation": continuation} for context, continuation in pairs])
    text, _, _ = score(folder, 1, *FP64, "--tokenizer", "bytes")
    write_requests(folder, [{"context_ids": list(context.encode()) or [256], "continuation_ids": list(continuation.encode())}
                            for context, continuation in pairs])
    ids, _, _ = score(folder, 1, *FP64)
    expect(text == ids, (text, ids))


def the_validation_loss_is_the_mean(folder):
    """The model's loss on the validation data, by the other form of evaluate, is the mean over requests that ask for the same tokens."""
    trained(folder)
    told = json.loads(ropewalk("evaluate", "tiny.textproto", "--json", "--samples", "1000000", *FP64, cwd=folder).out)
    tokens = [*(folder / "text.txt").read_bytes(), 256]
    part, length = tokens[-int(len(tokens) * 0.05):], told["sequence_length"]  # validation_fraction
    samples = [part[i * length:(i + 1) * length + 1] for i in range(told["sequences"])]
    write_requests(folder, [{"context_ids": sample[:1], "continuation_ids": sample[1:]} for sample in samples])
    answers, _, _ = score(folder, 2, *FP64, "--mesh", "cp=2")
    mean = -sum(answer["logprob"] for answer in answers) / sum(len(answer["token_logprobs"]) for answer in answers)
    expect(abs(mean - told["loss"]) < NEAR, (mean, told))


def either_precision_scores(folder):
    """In bf16 the answers of fp32 up to rounding, with the same bits twice, and by either option; in fp32 unless it is asked for."""
    trained(folder, "--set", "training.precision=BF16")
    write_requests(folder, mixed_requests(40))
    fp32, text, got = score(folder, 1)
    expect("; device: cpu, fp32 (" in got.err and text == score(folder, 1, "--precision", "fp32")[1], got)
    exact, _, got = score(folder, 1, *FP64, "--precision", "fp64")
    expect("; device: reference, fp64; " in got.err, got)
    expect_near([{**answer, "is_greedy": theirs["is_greedy"]} for answer, theirs in zip(fp32, exact)], exact, 4e-5)
    for count, mesh in ((1, "dp=1"), (4, "cp=2,tp=2")):
        mixed, text, got = score(folder, count, "--precision", "bf16", "--mesh", mesh)
        expect("; device: cpu, bf16 " in got.err, got)
        expect(text == score(folder, count, "--set", "training.precision=BF16", "--mesh", mesh)[1], "other bits the second time")
        off = [abs(one - other) for ours, theirs in zip(mixed, exact) for one, other in zip(ours["token_logprobs"], theirs["token_logprobs"])]
        # A log-probability is a difference of logits of up to 10, each of which bf16 rounds by 2^-9 of its size, after 4 layers of about 12
        # roundings: at most some 0.1, and in the mean sqrt(48 + 1) * 10 * 2^-9 / sqrt(3) = 0.08.
        expect(0 < sum(off) / len(off) < 0.08 and max(off) < 1, (mesh, sum(off) / len(off), max(off)))


def the_stage_decides_theta(folder):
    """A checkpoint of a later stage is scored with the theta that its last step used."""
    trained(folder, "--set", "training.stages.0.first_step=3", "--set", "training.stages.0.theta=77", "--set", "checkpoint.interval=3")
    write_requests(folder, mixed_requests(5))
    thetas = [word for layer in (0, 1, 2) for word in ("--set", f"model.pattern.{layer}.theta=%s")]
    for step, theta, other in ((3, "10000", "77"), (6, "77", "10000")):
        checkpoint = f"run/checkpoints/step-{step:08}"
        answers, text, _ = score(folder, 1, *FP64, checkpoint=checkpoint)
        expect(text == score(folder, 1, *FP64, *(word.replace("%s", theta) for word in thetas), checkpoint=checkpoint)[1], (step, answers))
        expect(text != score(folder, 1, *FP64, *(word.replace("%s", other) for word in thetas), checkpoint=checkpoint)[1], (step, answers))


def wrong_ones_are_refused(folder):
    """With one message from all ranks, the right exit code, and no output."""
    trained(folder)
    (folder / "hf").mkdir()
    (folder / "hf/config.json").write_text("{}")
    (folder / "closed").mkdir()
    good = {"context_ids": [1], "continuation_ids": [2]}
    write_requests(folder, [good])
    write_requests(folder, [good, {"context_ids": [1], "continuation_ids": [257]}], "far.jsonl")
    write_requests(folder, [good, good, {"context": "a", "continuation": "b"}], "text.jsonl")
    (folder / "bad.jsonl").write_text(json.dumps(good) + "\n\n{\"context_ids\": [1], \"continuation_ids\": [2]\n")
    (folder / "empty.jsonl").write_text("\n")
    (folder / "there.jsonl").write_text("mine")
    cases = [({"checkpoint": "nowhere"}, [], 4, "there is no checkpoint nowhere"),
             ({"checkpoint": "hf"}, [], 4, "hf is a Hugging Face model, not a checkpoint; import it"),
             ({"checkpoint": "run"}, [], 4, "run holds checkpoints and is not one itself"),
             ({"requests": "nowhere.jsonl"}, [], 3, "nowhere.jsonl: No such file"),
             ({"requests": "far.jsonl"}, [], 3, "far.jsonl:2: entry 1 of \"continuation_ids\" is \"257\""),
             ({"requests": "text.jsonl"}, [], 3, "text.jsonl:3: text needs a tokenizer: name one by --tokenizer"),
             ({"requests": "bad.jsonl"}, [], 3, "bad.jsonl:3: not JSON"),
             ({"requests": "empty.jsonl"}, [], 3, "empty.jsonl has no requests"),
             ({"requests": "/dev/null"}, [], 3, "/dev/null is not a regular file"),
             ({"output": "there.jsonl"}, [], 2, "there.jsonl exists; choose another --output, or replace it by --overwrite"),
             ({"output": "asked.jsonl"}, ["--overwrite"], 2, "asked.jsonl is the file of requests"),
             ({"output": "hf"}, ["--overwrite"], 2, "hf is not a regular file"),
             ({"output": "nowhere/scores.jsonl"}, [], 3, "No such file or directory; choose another --output"),
             ({"output": ""}, [], 2, "--output '' names no file"),
             ({}, ["--tokenizer", "words"], 2, "words"),
             ({}, ["--tokenizer", "bytes", "--set", "model.vocabulary=256"], 2, "--tokenizer has 257 tokens"),
             ({}, ["--set", "model.vocabulary=300"], 2, "is of another model"),
             ({}, ["--set", "training.steps=3"], 2, "training.steps is not used here"),
             ({}, ["--precision", "half"], 2, "--precision half: must be fp32, bf16 or fp64"),
             ({}, ["--precision", "fp32", "--set", "training.precision=BF16"], 2, "--precision sets training.precision; leave out one"),
             ({}, [*FP64, "--precision", "bf16"], 2, "training.precision = BF16: must be FP64 with parallel.device REFERENCE"),
             ({}, ["--mesh", "cp=2,x=1"], 2, "there is no axis"),
             ({}, ["--mesh", "tp=2", "--set", "parallel.context_parallel=2"], 2, "sets the three axes of the mesh"),
             ({}, ["--mesh", "cp=3"], 2, "to start 3 ranks"),
             ({}, ["--mesh", "tp=3"], 2, "model.query_heads = 4: must be a multiple of parallel.tensor_parallel = 3"),
             ({}, ["--batch-tokens", "0"], 2, "--batch-tokens 0 must be a whole number"),
             ({}, ["--set", "model.logit_scale=1e300"], 6, "the request in line 1"),
             ({}, ["--samples", "3"], 2, "--samples is for the loss on the validation data, which needs CONFIG")]
    files = {"checkpoint": CHECKPOINT, "requests": "asked.jsonl", "output": "scores.jsonl"}
    for changed, words, code, said in cases:
        given = [word for name, value in {**files, **changed}.items() for word in (f"--{name}", value)]
        got = ranks(2, "evaluate", *given, *words, cwd=folder)
        expect(got.code == code and got.err.count(said) == 1 and not got.out, (changed, words, said, got))
        expect(not left_in(folder) and (folder / "there.jsonl").read_text() == "mine", (changed, words, left_in(folder)))
    for words, said in ((["evaluate"], "evaluate needs CONFIG, or --checkpoint, --requests and --output"),
                        (["evaluate", "--checkpoint", CHECKPOINT, "--output", "x"], "scoring requests needs --requests"),
                        (["evaluate", "tiny.textproto", "--requests", "asked.jsonl"], "--requests is for scoring requests, without CONFIG")):
        got = ropewalk(*words, cwd=folder)
        expect(got.code == 2 and said in got.err and "or: ropewalk evaluate --checkpoint DIR" in got.err, got)


def an_output_is_replaced_only_if_asked(folder):
    trained(folder)
    write_requests(folder, mixed_requests(3))
    expected = score(folder, 1)[1]
    (folder / "scores.jsonl").write_text("mine")
    (folder / "scores.jsonl.ropewalk-tmp").write_text("left by a killed job")
    expect(score(folder, 1, "--overwrite")[1] == expected and not left_in(folder), left_in(folder))


def running(folder, count, *words, requests=2000, longest=2000):
    """A job that is scoring, and will for minutes: it has begun its output."""
    write_requests(folder, mixed_requests(requests, longest))
    job = subprocess.Popen([*(MPIRUN if count > 1 else []), *(["--quiet", "-n", str(count)] if count > 1 else []), PROGRAM, "evaluate", "--checkpoint",
                            CHECKPOINT, "--requests", "asked.jsonl", "--output", "scores.jsonl", *FP64, *words], cwd=folder,
                           stderr=subprocess.PIPE, text=True)
    JOBS.append(job)
    end = time.time() + 60
    while not (folder / "scores.jsonl.ropewalk-tmp").exists() and job.poll() is None and time.time() < end:
        time.sleep(0.02)
    expect(job.poll() is None, job)
    return job


def a_signal_leaves_nothing(folder):
    """To one process, to one rank of several, and to all: 128 + its number."""
    trained(folder)
    for count, mesh, which in ((1, "dp=1", None), (2, "cp=2", 1), (2, "dp=2", 0), (2, "dp=2", None)):
        job = running(folder, count, "--mesh", mesh, "--batch-tokens", "32")
        os.kill(job.pid if which is None else ranks_of(job)[which], signal.SIGUSR1)  # which mpirun passes on
        _, said = job.communicate(timeout=60)
        expect(job.returncode == 128 + signal.SIGUSR1 and said.count("stopped by a signal; nothing was written") == 1, (count, mesh, job.returncode, said))
        expect(not left_in(folder), left_in(folder))


def an_end_by_force_leaves_nothing(folder):
    """mpirun ends rank 0, because it is asked to, or because rank 1 has died, does not answer, or has waited in vain. Rank 0 waits for rank 1
    (cp=2), or computes one sequence for minutes (dp=2), longer than mpirun gives it."""
    trained(folder)
    waits, computes = ("cp=2", {}), ("dp=2", {"requests": 1, "longest": 100_000})
    for (mesh, asked), which, number in ((waits, None, signal.SIGTERM), (waits, 1, signal.SIGKILL), (waits, 1, signal.SIGSTOP),
                                         (computes, None, signal.SIGTERM), (computes, 1, signal.SIGKILL), (computes, 1, 0)):
        job = running(folder, 2, "--mesh", mesh, "--set", "parallel.deadline_seconds=5", **asked)
        os.kill(job.pid if which is None else ranks_of(job)[which], number)
        _, said = job.communicate(timeout=60)
        expect(job.returncode != 0 and not left_in(folder), (mesh, which, number, job.returncode, left_in(folder), said))


def what_a_killed_rank_leaves_is_removed_by_the_next_job(folder):
    trained(folder)
    job = running(folder, 2, "--mesh", "cp=2")
    os.kill(ranks_of(job)[0], signal.SIGKILL)
    job.communicate(timeout=60)
    expect(job.returncode != 0 and left_in(folder) == ["scores.jsonl.lock.tmp", "scores.jsonl.ropewalk-tmp"], (job.returncode, left_in(folder)))
    write_requests(folder, mixed_requests(2))
    score(folder, 1)
    expect(not left_in(folder), left_in(folder))


def one_job_at_a_time_writes_a_file(folder):
    trained(folder)
    running(folder, 1)
    write_requests(folder, mixed_requests(2), "few.jsonl")
    got = ropewalk("evaluate", "--checkpoint", CHECKPOINT, "--requests", "few.jsonl", "--output", "scores.jsonl", cwd=folder)
    expect(got.code == 2 and "scores.jsonl is being written by another evaluate (process " in got.err, got)


def a_file_that_appears_meanwhile_is_kept(folder):
    trained(folder)
    job = running(folder, 1, requests=5)
    (folder / "scores.jsonl").write_text("mine")
    _, said = job.communicate(timeout=60)
    expect(job.returncode == 2 and "scores.jsonl has appeared meanwhile, and is kept; the answers are in scores.jsonl.ropewalk-tmp" in said, said)
    expect((folder / "scores.jsonl").read_text() == "mine", "replaced")
    expect(len((folder / "scores.jsonl.ropewalk-tmp").read_text().splitlines()) == 5, "the answers are lost")


sys.exit(main([answers_do_not_depend_on_the_mesh, text_is_encoded, the_validation_loss_is_the_mean, either_precision_scores,
               the_stage_decides_theta, wrong_ones_are_refused, an_output_is_replaced_only_if_asked, a_signal_leaves_nothing,
               an_end_by_force_leaves_nothing, what_a_killed_rank_leaves_is_removed_by_the_next_job, one_job_at_a_time_writes_a_file,
               a_file_that_appears_meanwhile_is_kept]))
