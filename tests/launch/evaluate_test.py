"""`ropewalk evaluate`: the loss that training told, on any mesh, by ranks that hold the weights alone. With --large, after the
other arguments: the memory of a model of 1.2 billion parameters (12 GiB of memory and 5 GB of disk, some minutes)."""
import json
import os
import subprocess
import sys

LARGE = "--large" in sys.argv
if LARGE:
    sys.argv.remove("--large")

from program import CONFIG, PROGRAM, expect, main, ranks, ropewalk  # noqa: E402  (which reads the arguments)

DRAW = os.environ["DRAW_CHECKPOINT"]
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
NEAR = 0.05  # of the peak: what the program itself takes is an estimate, the rest is exact


def prepare(folder):
    (folder / "text.txt").write_text("All work and no play makes a dull text.\n" * 2000)
    expect(ropewalk("prepare", "--input", "text.txt", "--output", "text", "--overwrite", cwd=folder).code == 0, "prepare")


def the_loss_is_the_one_that_training_told(folder):
    prepare(folder)
    (folder / "tiny.textproto").write_text(CONFIG.replace("validation {", "checkpoint { interval: 3 }\nvalidation { samples: 7"))
    done = ranks(2, "train", "tiny.textproto", "--set", "parallel.context_parallel=2", cwd=folder)
    expect(done.code == 0, done)
    told = {line["step"]: line for line in map(json.loads, (folder / "run/metrics.jsonl").read_text().splitlines())}
    for step in (3, 6):
        for mesh in ([1, 1, 1], [2, 1, 1], [1, 1, 2], [1, 2, 2], [1, 3, 1]):  # data, context, tensor
            names = ("data", "context", "tensor")
            sets = [word for name, size in zip(names, mesh) for word in ("--set", f"parallel.{name}_parallel={size}")]
            got = ranks(mesh[0] * mesh[1] * mesh[2], "evaluate", "tiny.textproto", "--step", str(step), "--json", *sets, cwd=folder)
            expect(got.code == 0, got)
            result = json.loads(got.out)
            expect(result["step"] == step and result["sequences"] == 7, result)
            # Sums of about 1e4 terms in fp32, in another order on another mesh: sqrt(1e4) * 2^-24 = 6e-6.
            for ours, theirs in zip([result["loss"], *result["loss_by_position"]],
                                    [told[step]["validation_loss"], *told[step]["validation_loss_by_position"]]):
                expect(abs(ours - theirs) < 6e-6 * theirs, (mesh, step, ours, theirs))
    newest = ropewalk("evaluate", "tiny.textproto", cwd=folder)
    expect(newest.code == 0 and "after step 6: loss" in newest.out and "perplexity" in newest.out, newest)


def what_is_not_there_is_told(folder):
    prepare(folder)
    (folder / "tiny.textproto").write_text(CONFIG)
    for words, code, said in [((), 4, "run/checkpoints has no checkpoint; train first"),
                              (("--step", "3"), 4, "no checkpoint of step 3"),
                              (("--step", "0"), 2, "--step"),
                              (("--samples", "none"), 2, "--samples"),
                              (("--set", "model.key_heads=3"), 2, "model.key_heads")]:
        got = ropewalk("evaluate", "tiny.textproto", *words, cwd=folder)
        expect(got.code == code and said in got.err and not got.out, (words, got))
    expect(ropewalk("train", "tiny.textproto", "--set", "training.steps=1", cwd=folder).code == 0, "train")
    other = ropewalk("evaluate", "tiny.textproto", "--set", "model.hidden=64", cwd=folder)
    expect(other.code == 2 and "another model" in other.err, other)
    short = ropewalk("evaluate", "tiny.textproto", "--set", "data.validation_fraction=0", cwd=folder)
    expect(short.code == 2 and "validation_fraction" in short.err, short)


def peak_bytes(words, cwd):
    """Of a process of its own; it must end well."""
    process = subprocess.Popen(words, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    expect(process.returncode == 0, words)
    return usage.ru_maxrss * 1024


def memory_is_as_planned(folder):
    prepare(folder)
    (folder / "large.textproto").write_text(MODEL.format(*SIZES))
    subprocess.run([DRAW, "large.textproto"], cwd=folder, check=True)
    told = ropewalk("plan", "large.textproto", "--inference", "--json", cwd=folder)
    expect(told.code == 0, told)
    planned = json.loads(told.out)["stages"][0]["memory_bytes"]
    used = peak_bytes([PROGRAM, "evaluate", "large.textproto", "--samples", "1"], folder)
    print(f"weights {planned['weights']} bytes; planned {planned['total']}, used {used}: {used / planned['total']:.4f} of it")
    expect(abs(used - planned["total"]) < NEAR * planned["total"], (planned, used))


TESTS = [memory_is_as_planned] if LARGE else [the_loss_is_the_one_that_training_told, what_is_not_there_is_told, memory_is_as_planned]
sys.exit(main(TESTS))
