"""Fine-tuning with the program: conversations, a template, and configs/second_stage.textproto on short sequences, on several meshes."""
import json
import shutil
import sys

from program import ROOT, expect, main, ranks, ropewalk, run

TEMPLATES = ROOT / "configs/templates"
# The preset with sequences of 256, 512 and 1,024 tokens, five steps, and a model of another size.
SETTINGS = [
    "training.steps=5", "training.warmup_steps=1", "training.batch=4", "data.sequence_length=256", "model.width=32", "model.hidden=48",
    "model.head_size=8", "training.stages.0.first_step=2", "training.stages.0.sequence_length=512", "training.stages.1.first_step=4",
    "training.stages.1.sequence_length=1024", "training.stages.1.batch=4", "validation.interval=1", "validation.sample_tokens=0",
    "checkpoint.interval=1", "checkpoint.keep=0", "parallel.deadline_seconds=60"]
TOLERANCE = 1e-4  # of a loss of five nats in fp32 on another mesh, after five steps: the order of sums differs, by some 2^-24 * sqrt(1000) of it


def words(settings):
    return [word for setting in settings for word in ("--set", setting)]


def prepare_data(folder):
    """data/text and data/recall."""
    (folder / "data").mkdir()
    text = folder / "text.txt"
    text.write_text("".join(f"The rope number {i} has many strands, and line {i * i} tells about them.\n" for i in range(400)))
    made = run("python3", str(ROOT / "launch/recall_data.py"), "--text", str(text), "--bytes", "1024", "--count", "60")
    expect(made.code == 0, made)
    (folder / "recall.jsonl").write_text(made.out)
    for options in (["--input", "text.txt", "--output", "data/text"],
                    ["--input", "recall.jsonl", "--template", TEMPLATES / "plain.textproto", "--output", "data/recall"]):
        done = ropewalk("prepare", *map(str, options), cwd=folder)
        expect(done.code == 0, done)
    return [json.loads(line) for line in made.out.splitlines()]


def train(folder, count, directory, *settings):
    done = ranks(count, "train", str(ROOT / "configs/second_stage.textproto"), *words([*SETTINGS, f"output.directory={directory}", *settings]),
                 cwd=folder)
    expect(done.code == 0, done)
    return done, losses(folder / directory)


def losses(directory):
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [(line["step"], line["loss"], line["validation_loss"]) for line in lines]


def the_second_stage_gives_the_same_losses_on_every_mesh(folder):
    prepare_data(folder)
    done, one = train(folder, 1, "one")
    expect(len(one) == 5 and "packed 57 documents into" in done.err + done.out, done)
    for count, mesh in ((2, []), (2, ["parallel.context_parallel=2"]), (2, ["parallel.tensor_parallel=2"]),
                        (4, ["parallel.context_parallel=2"]), (4, ["parallel.data_parallel=4"])):
        _, many = train(folder, count, "many", *mesh)
        worst = max(abs(a - b) for left, right in zip(one, many) for a, b in zip(left, right))
        expect(len(many) == 5 and worst <= TOLERANCE, f"{count} ranks, {mesh}: {many}, one rank: {one}")
        shutil.rmtree(folder / "many")


def a_resume_within_a_stage_gives_the_same_bits(folder):
    prepare_data(folder)
    _, whole = train(folder, 1, "whole")
    for step in (1, 3):
        shutil.copytree(folder / "whole", folder / "resumed")
        done = ropewalk("train", str(ROOT / "configs/second_stage.textproto"), "--resume-from", str(step),
                        *words([*SETTINGS, "output.directory=resumed"]), cwd=folder)
        expect(done.code == 0, done)
        expect(losses(folder / "resumed") == whole, f"{losses(folder / 'resumed')}, whole: {whole}")
        shutil.rmtree(folder / "resumed")


def the_loss_is_that_of_the_answers(folder):
    """The validation loss equals the mean of the log-probabilities that `evaluate` gives to the answers."""
    conversations = prepare_data(folder)
    settings = ["data.validation_fraction=0.3", "validation.samples=1000", "data.prefix=data/recall", "data.sequence_length=2048",
                "training.stages=[]", "training.steps=2"]
    _, told = train(folder, 1, "run", *[setting for setting in SETTINGS if "stages" not in setting], *settings)
    checkpoint = folder / "run/checkpoints/step-00000002"
    documents = [list(line["prompt"].encode()) for line in conversations]
    answers = [[*line["completion"].encode(), 256] for line in conversations]
    tokens = sum(map(len, documents)) + sum(map(len, answers))
    begin, requests = 0, []
    for prompt, answer in zip(documents, answers):
        if begin >= tokens - int(tokens * 0.3):
            requests.append({"context_ids": prompt, "continuation_ids": answer})
        begin += len(prompt) + len(answer)
    (folder / "requests.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))
    done = ropewalk("evaluate", "--checkpoint", str(checkpoint), "--requests", "requests.jsonl", "--output", "answers.jsonl", cwd=folder)
    expect(done.code == 0, done)
    scores = [score for line in (folder / "answers.jsonl").read_text().splitlines() for score in json.loads(line)["token_logprobs"]]
    expect(len(requests) > 5 and abs(-sum(scores) / len(scores) - told[-1][2]) < 1e-5, f"{-sum(scores) / len(scores)}, told: {told}")


def wrong_data_are_named(folder):
    prepare_data(folder)
    (folder / "bad.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"messages": [{"role": "robot", "content": "x"}]}\n')
    template = str(TEMPLATES / "plain.textproto")
    done = ropewalk("prepare", "--input", "bad.jsonl", "--template", template, "--output", "bad", cwd=folder)
    expect(done.code == 3 and 'bad.jsonl:2: message 1 has the role "robot"' in done.err, done)
    done = ropewalk("prepare", "--input", "recall.jsonl", "--template", str(TEMPLATES / "chatml.textproto"), "--output", "bad", cwd=folder)
    expect(done.code == 2 and 'needs the added token "<|im_start|>"' in done.err, done)
    (folder / "form.textproto").write_text("role { name: 'prompt' befor: 'x' } role { name: 'completion' target: true }")
    done = ropewalk("prepare", "--input", "recall.jsonl", "--template", "form.textproto", "--output", "bad", cwd=folder)
    expect(done.code == 2 and "form.textproto:1:23: role.0.befor is not a field of a template; did you mean role.0.before?" in done.err, done)
    for choice, code, told in (("REFUSE", 3, "set data.long_samples to DROP"), ("DROP", 0, "dropped "), ("CUT", 0, "cut ")):
        done = ropewalk("validate", str(ROOT / "configs/second_stage.textproto"), "--data",
                        *words([*SETTINGS, "data.long_samples=" + choice]), cwd=folder)
        expect(done.code == code and told in done.out + done.err, done)
    mask = bytearray((folder / "data/recall.targets").read_bytes())
    mask[-1] ^= 4
    (folder / "data/recall.targets").write_bytes(mask)
    done = ranks(2, "train", str(ROOT / "configs/second_stage.textproto"), *words([*SETTINGS, "output.directory=run"]), cwd=folder)
    expect(done.code == 3 and "recall.targets is damaged" in done.err, done)


sys.exit(main([the_second_stage_gives_the_same_losses_on_every_mesh, a_resume_within_a_stage_gives_the_same_bits,
               the_loss_is_that_of_the_answers, wrong_data_are_named]))
