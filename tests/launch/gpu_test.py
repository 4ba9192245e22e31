"""The program on a GPU: it learns what the cpu learns, ranks that share it through host memory too, and a checkpoint goes both ways."""
import sys

from program import PROGRAM, expect, main, metrics, ranks, ropewalk, run

CONFIG = """
model {
  layers: 4 width: 64 hidden: 96 query_heads: 4 key_heads: 2 head_size: 64 vocabulary: 257
  pattern { mask: SLIDING window: 48 position: ROPE theta: 10000 }
  pattern { mask: SLIDING window: 48 position: ROPE theta: 10000 }
  pattern { mask: SLIDING window: 48 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 256 }
training { steps: 30 batch: 4 learning_rate: 3e-3 warmup_steps: 5 }
validation { interval: 0 sample_tokens: 0 }
checkpoint { interval: 20 }
parallel { deadline_seconds: 60 }
output { directory: "run" }
"""
CUDA = ["--set", "parallel.device=CUDA"]
STAGED = [*CUDA, "--set", "parallel.device_transport=STAGED"]
# Of losses of some nats in bf16, whose errors the steps do not make grow: 2^-8 and the same again for the weights' rounding.
NEAR = 2 * 2**-8


def losses(folder, directory):
    return [line["loss"] for line in metrics(folder, directory)]


def near(ours, theirs):
    return len(ours) == len(theirs) and all(abs(a - b) <= NEAR * b for a, b in zip(ours, theirs))


def train(folder, directory, count, *settings):
    words = ["train", "gpu.textproto", "--set", f"output.directory={directory}", *settings]
    result = ropewalk(*words, cwd=folder) if count == 1 else ranks(count, *words, cwd=folder)
    expect(result.code == 0, result)
    return result


def a_gpu_learns_what_the_cpu_learns(folder):
    """Losses of 30 steps, alone and on meshes of ranks that share the GPU; the same bits twice; the device and its memory are told."""
    train(folder, "cpu", 1)
    result = train(folder, "gpu", 1, *CUDA)
    expect("device: cuda, NVIDIA" in result.err, result)
    expect(near(losses(folder, "gpu"), losses(folder, "cpu")), (losses(folder, "gpu"), losses(folder, "cpu")))
    expect('"peak_device_memory_bytes"' in (folder / "gpu" / "metrics.jsonl").read_text(), "no memory of the device")
    train(folder, "again", 1, *CUDA)
    expect(losses(folder, "again") == losses(folder, "gpu"), "not the same bits")
    for mesh in ("context", "tensor", "data"):
        train(folder, mesh, 2, *STAGED, "--set", f"parallel.{mesh}_parallel=2")
        expect(near(losses(folder, mesh), losses(folder, "gpu")), (mesh, losses(folder, mesh)))


def checkpoints_go_both_ways(folder):
    """Begun on the GPU and finished on the cpu, and the other way."""
    for directory, first, second in (("down", CUDA, []), ("up", [], CUDA)):
        train(folder, directory, 1, *first, "--set", "training.steps=20", "--set", "training.schedule=CONSTANT")
        train(folder, directory, 1, *second, "--set", "training.schedule=CONSTANT")
    train(folder, "whole", 1, "--set", "training.schedule=CONSTANT")
    for directory in ("down", "up"):
        expect(near(losses(folder, directory), losses(folder, "whole")), (directory, losses(folder, directory)))


def ranks_that_share_a_gpu_cannot_use_nccl(folder):
    """More ranks than GPUs are told to share through host memory."""
    count = len(run("nvidia-smi", "-L").out.splitlines()) + 1
    result = ranks(count, "train", "gpu.textproto", *CUDA, "--set", f"training.batch={count}", cwd=folder)
    expect(result.code == 2 and result.err.count("share one device") == 1 and "device_transport to STAGED" in result.err, result)


def too_large_a_model_is_told_with_its_plan(folder):
    """What was asked for, what there is, and what was planned."""
    result = ropewalk("train", "gpu.textproto", *CUDA, "--set", "model.layers=10000", "--set", "model.width=8192", cwd=folder)
    expect(result.code == 7 and "more were asked for" in result.err and "planned for rank 0" in result.err, result)
    expect("warning: rank 0" in result.err and "of device memory" in result.err, result)


def with_text(test):
    def run_in(folder):
        (folder / "text.txt").write_text("The quick brown fox jumps over the lazy dog; " * 3000)
        expect(ropewalk("prepare", "--input", "text.txt", "--output", "text", cwd=folder).code == 0, "prepare")
        (folder / "gpu.textproto").write_text(CONFIG)
        test(folder)

    run_in.__name__, run_in.__doc__ = test.__name__, test.__doc__
    return run_in


try:
    found = run("nvidia-smi", "-L").out
except FileNotFoundError:
    found = ""
if "GPU 0" not in found:
    print("skipped: no CUDA device here")
    sys.exit(77)
sys.exit(main([with_text(test) for test in (a_gpu_learns_what_the_cpu_learns, checkpoints_go_both_ways,
                                            ranks_that_share_a_gpu_cannot_use_nccl, too_large_a_model_is_told_with_its_plan)]))
