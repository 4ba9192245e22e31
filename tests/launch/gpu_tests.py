"""The program with parallel.device CUDA: the losses of the CPU, also on ranks that share a device, and checkpoints between CPU and GPU."""
import json

from program import expect, main, metrics, ranks, ropewalk

CONFIG = """
model {
  layers: 2 width: 64 hidden: 96 query_heads: 2 key_heads: 1 head_size: 64 vocabulary: 257
  pattern { mask: SLIDING window: 24 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 96 }
training { batch: 2 learning_rate: 3e-3 schedule: CONSTANT }
validation { interval: 0 sample_tokens: 0 }
checkpoint { interval: 0 }
parallel { deadline_seconds: 60 }
output { directory: "run" }
"""
CUDA = ["--set", "parallel.device=CUDA"]
STAGED = [*CUDA, "--set", "parallel.device_transport=STAGED"]
# Tolerance relative to losses of a few nats. Each step rounds logits and weights to bf16 (a relative error of 2^-9). These errors enter the
# weights, so runs diverge slightly: after the FIRST steps only the mean of the differences is small.
NEAR, FIRST = 2**-7, 4


def losses(folder, directory):
    return [line["loss"] for line in metrics(folder, directory)]


def near(ours, theirs):
    distances = [abs(a - b) for a, b in zip(ours, theirs)]
    return (len(ours) == len(theirs) > 0 and all(distance <= NEAR * b for distance, b in zip(distances[:FIRST], theirs))
            and sum(distances) <= NEAR * sum(theirs))


def near_scores(ours, theirs):
    """Whether log-probabilities agree. A log-probability is a difference of logits of a few units, which bf16 rounds: its error does not shrink
    where the probability comes near 1."""
    return len(ours) == len(theirs) > 0 and all(abs(a - b) <= NEAR * max(1, b) for a, b in zip(ours, theirs))


def run_on(gpus, name, steps, nccl):
    """Runs the tests; returns the exit code. nccl: whether the backend supports it."""

    def train(folder, directory, count, *settings):
        words = ["train", "gpu.textproto", "--set", f"training.steps={steps}", "--set", f"output.directory={directory}", *settings]
        result = ropewalk(*words, cwd=folder) if count == 1 else ranks(count, *words, cwd=folder)
        expect(result.code == 0, result)
        return result

    def prepare(folder):
        (folder / "text.txt").write_text("The quick brown fox jumps over the lazy dog; " * 3000)
        expect(ropewalk("prepare", "--input", "text.txt", "--output", "text", "--overwrite", cwd=folder).code == 0, "prepare")
        (folder / "gpu.textproto").write_text(CONFIG)

    def it_learns_what_the_cpu_learns(folder):
        """The same losses within rounding errors, alone and on ranks that share a device; the same bits twice; device and memory are printed."""
        prepare(folder)
        train(folder, "cpu", 1)
        result = train(folder, "gpu", 1, *CUDA)
        expect("device: cuda, bf16, " in result.err and name in result.err and "not deterministic" not in result.err, result)
        expect(" with hopper attention;" in result.err or " with portable attention;" in result.err, result)
        expect(near(losses(folder, "gpu"), losses(folder, "cpu")), (losses(folder, "gpu"), losses(folder, "cpu")))
        expect('"peak_device_memory_bytes"' in (folder / "gpu" / "metrics.jsonl").read_text(), "no memory of the device")
        train(folder, "again", 1, *CUDA, "--set", "output.trace_steps=1")
        expect(losses(folder, "again") == losses(folder, "gpu"), "not the same bits")
        result = train(folder, "any-order", 1, *CUDA, "--set", "parallel.deterministic=false")
        expect(", not deterministic;" in result.err and near(losses(folder, "any-order"), losses(folder, "gpu")), result)
        events = json.loads((folder / "again/trace/rank-00000.json").read_text())["traceEvents"]
        on_device = {event["name"] for event in events if event["ph"] == "X" and event["tid"] == 1}
        expect({"linear_forward", "attention_backward", "adamw", "block 1 backward"} <= on_device, on_device)
        for mesh in ("context", "tensor", "data"):
            train(folder, mesh, 2, *STAGED, "--set", f"parallel.{mesh}_parallel=2")
            expect(near(losses(folder, mesh), losses(folder, "gpu")), (mesh, losses(folder, mesh), losses(folder, "gpu")))
        if nccl and gpus > 1:
            for mesh in ("context", "tensor", "data"):
                train(folder, f"nccl-{mesh}", 2, *CUDA, "--set", f"parallel.{mesh}_parallel=2")
                expect(near(losses(folder, f"nccl-{mesh}"), losses(folder, "gpu")), mesh)
        elif nccl:
            print("skipped: ranks over NCCL, which need two GPUs")

    def checkpoints_go_both_ways(folder):
        """A run that starts on the device and finishes on the CPU, and vice versa."""
        prepare(folder)
        train(folder, "whole", 1)
        for directory, first, second in (("down", CUDA, []), ("up", [], CUDA)):
            train(folder, directory, 1, *first, "--set", f"training.steps={steps // 2}")
            result = train(folder, directory, 1, *second)
            chunks = "8192 -> 1024" if first else "1024 -> 8192"
            expect(f"training.loss_chunk: {chunks} (" in result.err, result)
            expect(f"training.precision: {'BF16 -> FP32' if first else 'FP32 -> BF16'}\n" in result.err, result)
            expect(near(losses(folder, directory), losses(folder, "whole")), (directory, losses(folder, directory)))

    def what_stands_around_a_step_runs_there_too(folder):
        """Validation and text samples as on the CPU; activation checkpointing with the same bits; micro-batches."""
        prepare(folder)
        around = ["--set", "validation.interval=2", "--set", "validation.sample_tokens=3"]

        def validated(directory):
            lines = [json.loads(line) for line in (folder / directory / "metrics.jsonl").read_text().splitlines()]
            return [line["validation_loss"] for line in lines if "validation_loss" in line]

        train(folder, "cpu", 1, *around)
        train(folder, "gpu", 1, *CUDA, *around)
        expect(near(validated("gpu"), validated("cpu")), (validated("gpu"), validated("cpu")))
        for recompute in ("BLOCK", "BLOCK_BUT_ATTENTION"):
            train(folder, recompute, 1, *CUDA, *around, "--set", f"training.recompute={recompute}")
            expect(losses(folder, recompute) == losses(folder, "gpu") and validated(recompute) == validated("gpu"), recompute)
        train(folder, "micro", 1, *CUDA, "--set", "training.micro_batch=1")
        expect(near(losses(folder, "micro"), losses(folder, "gpu")), losses(folder, "micro"))

    def requests_are_scored_there_too(folder):
        """Log-probabilities as on the CPU, alone and on ranks that share a device; the same bits twice."""
        prepare(folder)
        train(folder, "run", 1)
        checkpoint = str(max((folder / "run/checkpoints").iterdir()))
        text = "The quick brown fox jumps over the lazy dog; "
        requests = [{"context": text[:length], "continuation": text[length:length + 9]} for length in (0, 3, 10, 30)]
        (folder / "asked.jsonl").write_text("".join(json.dumps(request) + "\n" for request in requests))

        def scores(name, count, *settings):
            words = ["evaluate", "--checkpoint", checkpoint, "--requests", "asked.jsonl", "--tokenizer", "bytes", "--output", name, *settings]
            result = ropewalk(*words, cwd=folder) if count == 1 else ranks(count, *words, cwd=folder)
            expect(result.code == 0, result)
            return [-logprob for line in (folder / name).read_text().splitlines() for logprob in json.loads(line)["token_logprobs"]]

        cpu, gpu = scores("cpu", 1), scores("gpu", 1, *CUDA)
        expect(near_scores(gpu, cpu), (gpu, cpu))
        expect(scores("again", 1, *CUDA) == gpu, "not the same bits")
        for mesh in ("cp=2", "tp=2", "dp=2"):
            expect(near_scores(scores(mesh, 2, *STAGED, "--mesh", mesh), gpu), (mesh, gpu))

    def ranks_that_share_a_device_cannot_use_nccl(folder):
        """With more ranks than devices, the error suggests transfers through host memory (STAGED)."""
        prepare(folder)
        count = gpus + 1
        result = ranks(count, "train", "gpu.textproto", *CUDA, "--set", f"training.batch={count}", "--set", "training.steps=1", cwd=folder)
        if nccl:
            expect(result.err.count("share one device") == 1, result)
        else:
            expect(result.err.count("built without NCCL") == 1, result)
        expect(result.code == 2 and "device_transport to STAGED" in result.err, result)

    def too_large_a_model_is_told_with_its_plan(folder):
        """The message has the requested, the available and the planned memory."""
        prepare(folder)
        sizes = ["--set", "training.steps=1", "--set", "model.layers=10000", "--set", "model.width=8192", "--set", "model.hidden=16384"]
        result = ropewalk("train", "gpu.textproto", *CUDA, *sizes, cwd=folder)
        expect(result.code == 7 and "more were asked for" in result.err and "planned for rank 0" in result.err, result)
        expect("warning: rank 0" in result.err and "of device memory" in result.err, result)

    return main([it_learns_what_the_cpu_learns, checkpoints_go_both_ways, what_stands_around_a_step_runs_there_too,
                 requests_are_scored_there_too, ranks_that_share_a_device_cannot_use_nccl, too_large_a_model_is_told_with_its_plan])
