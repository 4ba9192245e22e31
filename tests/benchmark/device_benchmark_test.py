"""ropewalk_device_benchmark answers every request on the emulated device, with seconds and FLOPs or bytes."""
import json
import subprocess
import sys

STEP = {"operation": "step", "length": 64, "layers": 4, "width": 64, "hidden": 96, "heads": 2, "key_heads": 1, "head_size": 64,
        "vocabulary": 128, "window": 16}
HEADS = {"length": 96, "heads": 2, "key_heads": 1, "head_size": 64}
ROWS = {"rows": 12, "width": 64}
PRODUCT = {"rows": 16, "inputs": 64, "outputs": 32}
BY_ARITHMETIC = [{"operation": f"attention_{way}", **HEADS, **window} for way in ("forward", "backward") for window in ({}, {"window": 20})]
BY_ARITHMETIC += [{"operation": f"linear_{way}", **PRODUCT} for way in ("forward", "backward_input", "backward_weight")]
BY_ARITHMETIC += [{"operation": "attention_backward", **HEADS, "deterministic": False}]
BY_ARITHMETIC += [{"operation": f"ring_{way}", "ranks": 3, **HEADS} for way in ("forward", "backward")]
BY_ARITHMETIC += [STEP, {**STEP, "recompute": True}, {**STEP, "deterministic": False}]
BY_BYTES = [{"operation": "copy", "elements": 4096}, {"operation": "add", **ROWS}, {"operation": "adamw", "elements": 4096},
            {"operation": "rotate", "rows": 12, "heads": 2, "head_size": 64}, {"operation": "cross_entropy", "rows": 8, "width": 128}]
BY_BYTES += [{"operation": name, **ROWS} for name in ("layer_norm_forward", "layer_norm_backward", "swiglu_forward", "swiglu_backward")]

asked = [json.dumps(request) for request in (*BY_ARITHMETIC, *BY_BYTES, {"operation": "rest"})]
done = subprocess.run([sys.argv[1], "--device", "cuda", "--seconds", "0"], input="\n".join(asked) + "\n", capture_output=True, text=True,
                      timeout=200, check=False)
answers = [json.loads(line) for line in done.stdout.splitlines()]
if done.returncode or len(answers) != len(asked):
    sys.exit(f"code {done.returncode}, {len(answers)} answers to {len(asked)} requests: {done.stderr}")
problems = []
for requests, rate in ((BY_ARITHMETIC, "flops"), (BY_BYTES, "bytes")):
    for request in requests:
        answer = answers.pop(0)
        wanted = ["seconds", rate, *(["activation_bytes", "memory_bytes", "device_bytes"] if request["operation"] == "step" else [])]
        if not all(answer.get(key, 0) > 0 for key in wanted):
            problems.append(f"{request}: {answer}")
print("\n".join(problems) or f"{len(asked)} requests answered")
sys.exit(1 if problems else 0)
