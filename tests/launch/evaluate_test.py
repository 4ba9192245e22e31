"""`ropewalk evaluate` prints the same loss as training, on any mesh, with ranks that hold only the weights. With --large after the
other arguments: the memory used for a model of 1.2 billion parameters (needs 12 GiB of memory, 5 GB of disk and some minutes)."""
import json
import os
import shutil
import subprocess
import sys

LARGE = "--large" in sys.argv
if LARGE:
    sys.argv.remove("--large")

from program import CONFIG, PROGRAM, expect, main, peak_bytes, prepare_long_text, ranks, ropewalk  # noqa: E402  (which reads the arguments)

DRAW = os.environ.get("DRAW_CHECKPOINT")  # not set in builds with a sanitizer, which needs memory of its own
# A model of layers, width, hidden, vocabulary.
SIZES = (20, 2048, 8192, 257) if LARGE else (6, 1024, 4096, 257)
MODEL = """
model {{
  layers: {} width: {} hidden: {} query_heads: 16 key_heads: 4 head_size: 128 vocabulary: {}
  pattern {{ mask: SLIDING window: 128 position: ROPE theta: 10000 }} pattern {{ mask: FULL }}
}}
data {{ prefix: "text" sequence_length: 256 }}
training {{ steps: 2 batch: 1 }}
output {{ directory: "large" }}
"""
NEAR = 0.05  # relative to the peak: the program's own memory is an estimate, the rest is exact


def train(folder, *settings):
    """Trains on two ranks, with checkpoints after steps 3 and 6; returns step -> metrics."""
    prepare_long_text(folder)
    (folder / "tiny.textproto").write_text(CONFIG.replace("validation {", "checkpoint { interval: 3 }\nvalidation { samples: 7"))
    done = ranks(2, "train", "tiny.textproto", "--set", "parallel.context_parallel=2", *settings, cwd=folder)
    expect(done.code == 0, done)
    return {line["step"]: line for line in map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())}


def evaluate(folder, count, *words):
    got = ranks(count, "evaluate", "tiny.textproto", "--json", *words, cwd=folder)
    expect(got.code == 0, got)
    return json.loads(got.out), got


def losses(result):
    return [result["loss"], *result["loss_by_position"]]


def damage(folder):
    """Changes a bit of the weights after step 6; returns the file."""
    weights = next((folder / "run/checkpoints/step-00000006").glob("*.safetensors"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 8] ^= 1
    weights.write_bytes(content)
    return weights


def the_loss_is_the_one_that_training_told(folder):
    told = train(folder)
    for step in (3, 6):
        theirs = [told[step]["validation_loss"], *told[step]["validation_loss_by_position"]]
        for mesh in ([1, 2, 1], [1, 1, 1], [2, 1, 1], [1, 1, 2], [1, 2, 2], [1, 3, 1]):  # data, context, tensor
            names = ("data", "context", "tensor")
            sets = [word for name, size in zip(names, mesh) for word in ("--set", f"parallel.{name}_parallel={size}")]
            result, _ = evaluate(folder, mesh[0] * mesh[1] * mesh[2], "--step", str(step), *sets)
            expect(result["step"] == step and result["sequences"] == 7, result)
            if mesh == [1, 2, 1]:  # the mesh of the run
                expect(losses(result) == theirs, (result, theirs))
            # On other meshes a token's loss has other rounding errors: 4 layers of some 20 operations in sequence, each with sums of at
            # most 64 terms, so sqrt(80) * sqrt(64) * 2^-24 = 4e-6 relative to logits, which are about as large as the loss.
            for ours, expected in zip(losses(result), theirs):
                expect(abs(ours - expected) < 4e-6 * expected, (mesh, step, ours, expected))
    newest = ropewalk("evaluate", "tiny.textproto", cwd=folder)
    expect(newest.code == 0 and "after step 6: loss" in newest.out and "perplexity" in newest.out, newest)
    # With any split of the sequences, and with more samples than exist.
    one, _ = evaluate(folder, 2, "--samples", "1", "--set", "parallel.data_parallel=2")
    expect(one["sequences"] == 1 and abs(one["loss"] - evaluate(folder, 1, "--samples", "1")[0]["loss"]) < 4e-6 * one["loss"], one)
    everything, _ = evaluate(folder, 1, "--samples", "9000000000000000000")
    expect(7 < everything["sequences"] < 1000, everything)


def the_checkpoint_decides_the_stage(folder):
    settings = ["--set", "training.stages.0.first_step=3", "--set", "training.stages.0.sequence_length=32", "--set", "training.stages.0.theta=777",
                "--set", "parallel.context_parallel=2"]
    told = train(folder, *settings)
    for step, length in ((3, 64), (6, 32)):  # after step 3 of the first stage, the second begins
        result, _ = evaluate(folder, 2, "--step", str(step), *settings)
        expect(result["sequence_length"] == length and result["loss"] == told[step]["validation_loss"], (result, told[step]))
    damage(folder)  # the newest; the one before is of another stage
    result, _ = evaluate(folder, 2, *settings)
    expect(result["step"] == 3 and result["sequence_length"] == 64 and result["loss"] == told[3]["validation_loss"], (result, told[3]))


def a_damaged_checkpoint_is_refused(folder):
    train(folder)
    weights = damage(folder)
    result, got = evaluate(folder, 2, "--set", "parallel.data_parallel=2")
    expect(result["step"] == 3 and got.err.count("step-00000006 is refused") == 1, got)
    refused = ropewalk("evaluate", "tiny.textproto", "--step", "6", cwd=folder)
    expect(refused.code == 4 and weights.name in refused.err and not refused.out, refused)


def what_is_changed_is_told_and_used(folder):
    train(folder)
    settings = ["--set", "model.pattern.0.theta=5", "--set", "model.logit_scale=2"]
    result, got = evaluate(folder, 1, *settings)
    expect("model.logit_scale" in got.err and "model.pattern" in got.err, got)
    expect(result["loss"] != evaluate(folder, 1)[0]["loss"], result)
    endless = ropewalk("evaluate", "tiny.textproto", "--set", "model.logit_scale=1e300", cwd=folder)
    expect(endless.code == 6 and "the loss of" in endless.err and not endless.out, endless)


def what_is_not_there_is_told_once(folder):
    prepare_long_text(folder)
    (folder / "tiny.textproto").write_text(CONFIG)
    wrong = [((), 4, "run/checkpoints has no checkpoint; train first"),
             (("--step", "3"), 4, "no checkpoint of step 3"),
             (("--step", "-1"), 2, "--step"),
             (("--samples", "0"), 2, "--samples"),
             (("--samples", "none"), 2, "--samples"),
             (("--precision", "fp16"), 2, "--precision fp16: must be fp32, bf16 or fp64"),
             (("--precision", "fp64"), 2, "training.precision = FP64: must be FP32 or BF16 with parallel.device CPU"),
             (("--precision", "bf16", "--set", "training.precision=FP32"), 2, "--precision sets training.precision; leave out one of the two"),
             (("--precision", "bf16", "--set", "training={precision: BF16}"), 2, "--precision sets training.precision; leave out one of the two"),
             (("--set", "training.precision=bf16"), 2, "must be one of FP32, BF16, FP64; did you mean BF16?"),
             (("--set", "model.key_heads=3"), 2, "must be a multiple of model.key_heads"),
             (("--set", "data.validation_fraction=0"), 2, "validation_fraction is 0")]
    for words, code, said in wrong:
        for got in (ropewalk("evaluate", "tiny.textproto", *words, cwd=folder),
                    ranks(2, "evaluate", "tiny.textproto", "--set", "parallel.data_parallel=2", *words, cwd=folder)):
            expect(got.code == code and got.err.count(said) == 1 and not got.out, (words, got))
    expect(ropewalk("train", "tiny.textproto", "--set", "training.steps=1", cwd=folder).code == 0, "train")
    other = ropewalk("evaluate", "tiny.textproto", "--set", "model.hidden=64", cwd=folder)
    expect(other.code == 2 and "another model" in other.err, other)
    (folder / "text.bin").unlink()
    gone = ranks(2, "evaluate", "tiny.textproto", "--set", "parallel.data_parallel=2", cwd=folder)
    expect(gone.code == 3 and "text.bin" in gone.err and not gone.out, gone)
    shutil.rmtree(folder / "run/checkpoints")  # the data are opened before any weights are read
    gone = ropewalk("evaluate", "tiny.textproto", cwd=folder)
    expect(gone.code == 3 and "text.bin" in gone.err, gone)


def memory_is_as_planned(folder):
    prepare_long_text(folder)
    (folder / "large.textproto").write_text(MODEL.format(*SIZES))
    subprocess.run([DRAW, "large.textproto"], cwd=folder, check=True)
    told = ropewalk("plan", "large.textproto", "--inference", "--json", cwd=folder)
    expect(told.code == 0, told)
    planned = json.loads(told.out)["stages"][0]["memory_bytes"]
    used = peak_bytes([PROGRAM, "evaluate", "large.textproto", "--samples", "1"], folder)
    print(f"weights {planned['weights']} bytes; planned {planned['total']}, used {used}: {used / planned['total']:.4f} of it")
    expect(abs(used - planned["total"]) < NEAR * planned["total"], (planned, used))


TESTS = [the_loss_is_the_one_that_training_told, the_checkpoint_decides_the_stage, a_damaged_checkpoint_is_refused,
         what_is_changed_is_told_and_used, what_is_not_there_is_told_once]
if DRAW:
    TESTS.append(memory_is_as_planned)
sys.exit(main([memory_is_as_planned] if LARGE else TESTS))
