"""`ropewalk plan` against what a run then does: its memory as the system counts it, and its bytes by axis."""
import json
import sys

from program import ROOT, expect, main, prepare_long_text, ranks, ropewalk

# Large enough that weights, optimizer and activations each outweigh what libraries and MPI take.
CONFIG = """
model {
  layers: 3 width: 256 hidden: 704 query_heads: 8 key_heads: 4 head_size: 32 vocabulary: 16384
  pattern { mask: SLIDING window: 128 position: ROPE theta: 10000 } pattern { mask: SLIDING window: 128 position: ROPE theta: 10000 }
  pattern { mask: FULL }
}
data { prefix: "text" sequence_length: 512 validation_fraction: 0 }
training { steps: 2 batch: 4 micro_batch: 2 }
validation { sample_tokens: 0 }
checkpoint { interval: 0 }
output { directory: "run" }
"""
MESHES = [("dp=1", 1, []),
          ("dp=2", 2, []),
          ("cp=2,tp=2", 4, ["--set", "parallel.context_parallel=2", "--set", "parallel.tensor_parallel=2"]),
          ("cp=2", 2, ["--set", "parallel.context_parallel=2", "--set", "training.recompute=BLOCK"])]
ROWS = 1e-3  # of the bytes: data ranks' shares of the optimizer differ by a row of a parameter at most
NEAR = 0.1  # of the peak: what the program itself takes is an estimate, the rest is exact


def plan_is_what_a_run_takes(folder):
    """Peak memory within a tenth; bytes of all ranks by axis (but for the world's, which carries the metrics too)."""
    prepare_long_text(folder)
    (folder / "large.textproto").write_text(CONFIG)
    for mesh, count, settings in MESHES:
        told = ropewalk("plan", "large.textproto", "--mesh", mesh, *settings, "--json", cwd=folder)
        expect(told.code == 0, told)
        plan = json.loads(told.out)["stages"][0]
        directory = f"run-{mesh}"
        done = ranks(count, "train", "large.textproto", *settings, "--set", f"output.directory={directory}", cwd=folder)
        expect(done.code == 0 and "memory of rank 0: " in done.err, done)
        step = json.loads((folder / directory / "metrics.jsonl").read_text().splitlines()[-1])
        planned = plan["memory_bytes"]["total"]
        expect(abs(step["peak_memory_bytes"] - planned) < NEAR * planned, (mesh, step["peak_memory_bytes"], plan))
        for axis in ("sequence", "tensor", "gradient"):
            sent, expected = step["bytes_sent"].get(axis, 0), plan["bytes_sent"][axis]["all_ranks"]
            expect(abs(sent - expected) <= ROWS * expected, (mesh, axis, sent, expected))


def a_long_context_fits_a_gpu(folder):
    """Of Command R7B's shape on 64k tokens: 0.25 MiB a token for the inputs of 32 layers in bf16, 0.063 for attention's output of the full
    ones, and a few statistics."""
    for layers in (8, 32):
        words = ["--mesh", "dp=1", "--json", "--set", f"model.layers={layers}", "--set", "data.sequence_length=65536",
                 "--set", "parallel.device=CUDA", "--set", "training.recompute=BLOCK_BUT_ATTENTION"]
        told = ropewalk("plan", str(ROOT / "configs/command_r7b.textproto"), *words, cwd=folder)
        expect(told.code == 0, told)
        mib = json.loads(told.out)["stages"][0]["activation_bytes_per_token"] * 32 / layers / 2**20
        expect(0.31 < mib <= 0.35, (layers, mib))


def a_plan_has_the_devices_rows_of_logits(folder):
    """Not set: as many as a run would take."""

    def working(*settings):
        words = ["--mesh", "dp=1", "--json", "--set", "parallel.device=CUDA", "--set", "data.sequence_length=16384", *settings]
        told = ropewalk("plan", str(ROOT / "configs/command_r7b.textproto"), *words, cwd=folder)
        expect(told.code == 0, told)
        return json.loads(told.out)["stages"][0]["memory_bytes"]["working"]

    chosen, same, fewer = working(), working("--set", "training.loss_chunk=4096"), working("--set", "training.loss_chunk=1024")
    expect(chosen == same > fewer, (chosen, same, fewer))


sys.exit(main([plan_is_what_a_run_takes, a_long_context_fits_a_gpu, a_plan_has_the_devices_rows_of_logits]))
