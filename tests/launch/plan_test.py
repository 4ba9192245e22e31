"""`ropewalk plan` against what a run then does: its memory as the system counts it, and its bytes by axis."""
import json
import os
import subprocess
import sys

from program import PROGRAM, ROOT, expect, main, prepare_long_text, ranks, ropewalk

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
LARGE = ["--set", "model.width=1024", "--set", "model.hidden=2816", "--set", "model.query_heads=16", "--set", "model.key_heads=8", "--set",
         "model.head_size=64", "--set", "model.layers=6", "--set", "training.steps=1", "--set", "data.sequence_length=256"]
BF16 = ["--set", "training.precision=BF16"]
CONTEXT, TENSOR = ["--set", "parallel.context_parallel=2"], ["--set", "parallel.tensor_parallel=2"]
RUNS = [("dp=1", 1, [], []),  # mesh, ranks, its settings, other settings
        ("dp=2", 2, [], []),
        ("cp=2,tp=2", 4, [*CONTEXT, *TENSOR], []),
        ("cp=2", 2, CONTEXT, ["--set", "training.recompute=BLOCK"]),
        ("dp=1", 1, [], LARGE),
        ("cp=2", 2, CONTEXT, LARGE),
        ("dp=1", 1, [], BF16),
        ("cp=2,tp=2", 4, [*CONTEXT, *TENSOR], BF16),
        ("dp=2", 2, [], [*LARGE, *BF16])]
# Tensors, sequences and message buffers are counted exactly; the 20 or 30 MiB of the program itself were measured once, and vary with the
# libraries. So a plan may be 24 MiB too high in a small process, 3 % in a large one. Hardly too low: a job that was promised to fit must fit.
ABOVE_BYTES, ABOVE, BELOW = 24 << 20, 0.03, 0.01


def plan_is_what_a_run_takes(folder):
    """Peak memory; the bytes of all ranks by axis, exactly (but for the world's, which carries the metrics too)."""
    prepare_long_text(folder)
    (folder / "large.textproto").write_text(CONFIG)
    for number, (mesh, count, axes, settings) in enumerate(RUNS):
        planned = ropewalk("plan", "large.textproto", "--mesh", mesh, *settings, "--json", cwd=folder)
        expect(planned.code == 0, planned)
        plan = json.loads(planned.out)["stages"][0]
        directory = f"run-{number}"
        done = ranks(count, "train", "large.textproto", *axes, *settings, "--set", f"output.directory={directory}", cwd=folder)
        expect(done.code == 0 and "memory of rank 0: " in done.err, done)
        step = json.loads((folder / directory / "metrics.jsonl").read_text().splitlines()[-1])
        total, peak = plan["memory_bytes"]["total"], step["peak_memory_bytes"]
        print(f"{mesh:10} {count} ranks: peak {peak / 2**20:7.1f} MiB, plan {total / 2**20:7.1f} MiB, {100 * (total / peak - 1):+.2f} %")
        expect(peak * (1 - BELOW) <= total <= peak + max(ABOVE * peak, ABOVE_BYTES), (mesh, settings, peak, plan))
        for axis in ("sequence", "tensor", "gradient"):
            sent, expected = step["bytes_sent"].get(axis, 0), plan["bytes_sent"][axis]["all_ranks"]
            expect(sent == expected, (mesh, axis, sent, expected))


def any_mesh_is_planned_in_a_moment(folder):
    """A CPU-second and 200 MB, for up to 16,384 ranks and 4 M tokens."""
    for mesh, length in [("cp=256", 1 << 20), ("cp=16384", 1 << 22), ("cp=2048,tp=8", 1 << 22), ("dp=1", 1 << 22), ("cp=1000,tp=16", 4000000),
                         ("dp=16384", 8192), ("dp=4,cp=4095", 4194303)]:
        words = [PROGRAM, "plan", ROOT / "configs/command_r7b.textproto", "--mesh", mesh, "--json", "--set", f"data.sequence_length={length}",
                 "--set", "training.batch=16384"]
        # Where a rank does not fit, some hundred plans of other settings follow.
        for memory, seconds in [("1000TiB", 1), ("1MiB", 20)]:
            process = subprocess.Popen([*words, "--device-memory", memory], cwd=folder, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            taken = usage.ru_utime + usage.ru_stime
            print(f"{mesh}, {length} tokens, {memory} per rank: {taken:.2f} CPU-s, {usage.ru_maxrss / 1000:.0f} MB")
            expect(process.returncode == 0 and taken < seconds and usage.ru_maxrss < 200_000, (mesh, length, memory, usage))


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


sys.exit(main([plan_is_what_a_run_takes, any_mesh_is_planned_in_a_moment, a_long_context_fits_a_gpu, a_plan_has_the_devices_rows_of_logits]))
