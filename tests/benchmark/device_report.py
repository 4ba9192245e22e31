"""Measures the CUDA backend relative to its peers on one GPU, and prints a table of ratios and their goals; also writes them as JSON.

Peers run in this process, our operations in ropewalk_device_benchmark. Their runs alternate, and each ratio is the median of several pairs.
(Steps run one after the other, because a GPU may not hold both.) Attention is compared with PyTorch's SDPA (cuDNN, flash) and FlexAttention,
matrix products with torch.matmul (cuBLASLt), a step with transformers' Cohere2 at its fastest setting, memory-bound operations with a copy.
Needs torch, and transformers for the step. The part `rates` measures our attention alone and needs neither. A comparison that cannot run here
is reported as left out. --device cpu with --small tries the program.
"""
import argparse
import gc
import json
import pathlib
import statistics
import subprocess
import sys
import time

from table import Table

try:
    import torch
    import torch.nn.functional as F
except ImportError:
    torch = None

CAUSAL_OVER_CUDNN = {"forward": (0.95, 1.0), "backward": (0.95, 1.0)}
WINDOW_OVER_OWN_CAUSAL = (0.95, 1.0)  # rate per visible query-key pair
WINDOW_OVER_FLEX = (1.5, 2.0)
RING_OVER_ONE = (0.95, None)
OF_COPY = (0.85, 0.92)
UTILISATION = {8192: (0.50, 0.55), 65536: (0.48, 0.50)}
STEP_OVER_TRANSFORMERS = (1.6, 2.0)
MOST_MIB_A_TOKEN = 0.35  # at 65,536 tokens, for 32 layers

FULL = {"heads": 32, "key_heads": 8, "head_size": 128, "causal": [16384, 32768], "own": 8192, "long": 65536, "window": 4096,
        "ring": {65536: (2, 4, 8), 262144: (8,)},
        "rows": 16384, "width": 4096, "hidden": 14336, "loss": (2048, 256000), "parameters": 1 << 28, "copy": 1 << 28,
        "step": {"layers": 8, "width": 4096, "hidden": 14336, "heads": 32, "key_heads": 8, "head_size": 128, "vocabulary": 256000,
                 "window": 4096}, "lengths": [8192, 65536]}
SMALL = {"heads": 4, "key_heads": 2, "head_size": 64, "causal": [256], "own": 256, "long": 512, "window": 64, "rows": 256,
         "ring": {512: (2, 4, 8)},
         "width": 256, "hidden": 512, "loss": (64, 1024), "parameters": 1 << 16, "copy": 1 << 16,
         "step": {"layers": 4, "width": 128, "hidden": 256, "heads": 2, "key_heads": 1, "head_size": 64, "vocabulary": 512, "window": 64},
         "lengths": [128]}


class Ours:
    """Our operations, timed by ropewalk_device_benchmark; each request and answer is a line of JSON."""

    def __init__(self, program, device, seconds):
        self.job = subprocess.Popen([program, "--device", device, "--seconds", str(seconds)], stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, text=True)

    def __call__(self, operation, **sizes):
        self.job.stdin.write(json.dumps({"operation": operation, **sizes}) + "\n")
        self.job.stdin.flush()
        line = self.job.stdout.readline()
        if not line:
            sys.exit(f"device_report: {self.job.args[0]} ended with code {self.job.wait()}")
        return json.loads(line)


class Theirs:
    """Times PyTorch functions on the device; each measurement takes at least `seconds`."""

    def __init__(self, device, seconds):
        self.device, self.seconds = device, seconds
        self.type = torch.bfloat16 if device == "cuda" else torch.float32

    def synchronize(self):
        if self.device == "cuda":
            torch.cuda.synchronize()

    def __call__(self, run):
        run()
        runs = 1
        while True:
            self.synchronize()
            began = time.perf_counter()
            for _ in range(runs):
                run()
            self.synchronize()
            spent = time.perf_counter() - began
            if spent >= self.seconds:
                return spent / runs
            runs *= 2

    def give_back(self):
        """Returns PyTorch's cached memory to the device, for our operations."""
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def drawn(self, *shape):
        return torch.randn(*shape, device=self.device, dtype=self.type)


def in_turn(pairs, ours, theirs):
    """Alternating runs. Returns the ratios of their seconds to ours (above 1: ours is faster), and our last answer."""
    ratios = []
    for _ in range(pairs):
        answer = ours()
        if "error" in answer:
            return [], answer
        ratios.append(theirs() / answer["seconds"])
    return ratios, answer


class Driver:
    def __init__(self, report, ours, theirs, pairs, sizes, peak):
        self.report, self.ours, self.theirs, self.pairs, self.sizes, self.peak = report, ours, theirs, pairs, sizes, peak

    def left_out(self, name, reason):
        print(f"{name:52} left out: {str(reason).splitlines()[0] if str(reason) else type(reason).__name__}")

    def beside(self, name, ours, make_theirs, unit="times as fast", goal=(None, None)):
        try:
            theirs = make_theirs()
            ratios, answer = in_turn(self.pairs, ours, lambda: self.theirs(theirs))
        except (RuntimeError, ImportError, ValueError) as error:  # the peer does not support this shape or machine
            return self.left_out(name, error)
        finally:
            theirs = None
            self.theirs.give_back()
        if not ratios:
            return self.left_out(name, answer["error"])
        rate = f"{answer['flops'] / answer['seconds'] / 1e12:.3g} TFLOP/s" if answer["flops"] else ""
        return self.report.add(name, statistics.median(ratios), unit, goal, min(ratios), max(ratios), rate)

    def beside_our_own(self, name, unit, goal, work, rate_unit, one, other):
        """Adds the ratio of the rates of two of our operations; each is given as (name, sizes)."""
        ratios = []
        for _ in range(self.pairs):
            answers = [self.ours(operation, **sizes) for operation, sizes in (one, other)]
            if any("error" in answer for answer in answers):
                return self.left_out(name, next(answer["error"] for answer in answers if "error" in answer))
            rates = [answer[work] / answer["seconds"] for answer in answers]
            ratios.append(rates[0] / rates[1])
        return self.report.add(name, statistics.median(ratios), unit, goal, min(ratios), max(ratios), f"{rates[0] / 1e12:.3g} {rate_unit}")

    # ---- attention

    def attention_sizes(self, length, window=0):
        return {"length": length, **{key: self.sizes[key] for key in ("heads", "key_heads", "head_size")}, "window": window}

    def attention_pass(self, length, way, attend):
        """A function that runs one pass of a peer; attend(q, k, v) is the peer's forward."""
        s, t = self.sizes, self.theirs
        q, k, v = (t.drawn(1, heads, length, s["head_size"]).requires_grad_(way == "backward")
                   for heads in (s["heads"], s["key_heads"], s["key_heads"]))
        if way == "forward":
            return lambda: attend(q, k, v)
        out, gradient = attend(q, k, v), t.drawn(1, s["heads"], length, s["head_size"])
        return lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True)

    def sdpa(self, length, way, backend):
        def attend(q, k, v):
            with torch.nn.attention.sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

        return self.attention_pass(length, way, attend)

    def flex(self, length, way, window):
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        mask = create_block_mask(lambda b, h, i, j: (i >= j) & (i - j < window), None, None, length, length, device=self.theirs.device)
        compiled = torch.compile(flex_attention)
        return self.attention_pass(length, way, lambda q, k, v: compiled(q, k, v, block_mask=mask, enable_gqa=True))

    def attention(self):
        s = self.sizes
        heads = f"K={s['head_size']} heads {s['heads']}:{s['key_heads']}"
        self.report.heading(f"attention, {heads}: ours relative to PyTorch, alternating runs")
        backends = {"cuDNN": torch.nn.attention.SDPBackend.CUDNN_ATTENTION, "flash": torch.nn.attention.SDPBackend.FLASH_ATTENTION}
        for length in s["causal"]:
            for way in ("forward", "backward"):
                for peer, backend in backends.items():
                    self.beside(f"causal {way} S={length} / {peer}", lambda: self.ours(f"attention_{way}", **self.attention_sizes(length)),
                                lambda: self.sdpa(length, way, backend), goal=CAUSAL_OVER_CUDNN[way] if peer == "cuDNN" else (None, None))
            sizes = self.attention_sizes(length)
            for way in ("forward", "backward"):
                self.beside_our_own(f"causal {way} S={length}, the GPU's form / the portable one", "times as fast", (None, None), "flops", "TFLOP/s",
                                    (f"attention_{way}", sizes), (f"attention_{way}", {**sizes, "form": "portable"}))
            self.beside_our_own(f"causal backward in any order S={length} / deterministic", "times as fast", (None, None), "flops", "TFLOP/s",
                                ("attention_backward", {**sizes, "deterministic": False}), ("attention_backward", sizes))
        for way in ("forward", "backward"):
            self.beside_our_own(f"window {s['window']} {way} S={s['long']} / own causal S={s['own']}", "per pair", WINDOW_OVER_OWN_CAUSAL,
                                "flops", "TFLOP/s", (f"attention_{way}", self.attention_sizes(s["long"], s["window"])),
                                (f"attention_{way}", self.attention_sizes(s["own"])))
            self.beside(f"window {s['window']} {way} S={s['long']} / FlexAttention",
                        lambda: self.ours(f"attention_{way}", **self.attention_sizes(s["long"], s["window"])),
                        lambda: self.flex(s["long"], way, s["window"]), goal=WINDOW_OVER_FLEX)

    def ring(self):
        """The kernels of all ranks of a ring relative to one rank's, over the same tokens: the cost of splitting the sequence."""
        s = self.sizes
        self.report.heading("ring attention: the kernels of all ranks, one after another, relative to one rank")
        for length, numbers_of_ranks in s["ring"].items():
            for ranks in numbers_of_ranks:
                for way in ("forward", "backward"):
                    sizes = self.attention_sizes(length)
                    self.beside_our_own(f"ring of {ranks} {way} S={length} / one rank", "per token", RING_OVER_ONE, "flops", "TFLOP/s",
                                        (f"ring_{way}", {**sizes, "ranks": ranks}), (f"attention_{way}", sizes))

    def rates(self):
        s = self.sizes
        self.report.heading(f"our attention alone, K={s['head_size']} heads {s['heads']}:{s['key_heads']}: TFLOP/s of visible pairs")
        cases = [(length, 0, {}) for length in (s["own"], *s["causal"])] + [(s["long"], s["window"], {}), (s["causal"][0], 0, {"head_size": 64})]
        for length, window, other in cases:
            for operation, order in (("forward", {}), ("backward", {}), ("backward", {"deterministic": False})):
                request = {**self.attention_sizes(length, window), **order, **other}
                rates = [answer["flops"] / answer["seconds"] / 1e12 for answer in (self.ours(f"attention_{operation}", **request) for _ in range(self.pairs))
                         if "error" not in answer]
                if rates:
                    name = f"{operation} S={length} W={window or '-'} K={request['head_size']}{' in any order' if order else ''}"
                    self.report.add(name, statistics.median(rates), "TFLOP/s", (None, None), min(rates), max(rates))

    # ---- memory-bound operations, and matrix products

    def memory(self):
        s = self.sizes
        rows = {"rows": s["rows"], "width": s["width"]}
        hidden = {"rows": s["rows"] // 2, "width": s["hidden"]}
        loss = dict(zip(("rows", "width"), s["loss"]))
        heads = {"rows": s["rows"], "heads": s["heads"], "head_size": s["head_size"]}
        normed = {"rows": s["rows"] * s["heads"], "width": s["head_size"], "heads": s["heads"]}  # qk_norm's
        self.report.heading("memory-bound operations: bandwidth as a fraction of a copy's, alternating runs")
        for operation, sizes, goal in (
                ("add", rows, None), ("layer_norm_forward", rows, OF_COPY), ("layer_norm_backward", rows, OF_COPY),
                ("layer_norm_forward", normed, None), ("layer_norm_backward", normed, None), ("rotate", heads, OF_COPY),
                ("swiglu_forward", hidden, OF_COPY), ("swiglu_backward", hidden, OF_COPY), ("cross_entropy", loss, OF_COPY),
                ("adamw", {"elements": s["parameters"]}, OF_COPY), ("sum_of_squares", {"elements": s["parameters"]}, None)):
            self.beside_our_own(operation + (" of each head" if sizes is normed else ""), "of copy", goal or (None, None), "bytes", "TB/s",
                                (operation, sizes), ("copy", {"elements": s["copy"]}))

    def products(self):
        s, t = self.sizes, self.theirs
        self.report.heading("matrix products relative to torch.matmul, alternating runs")
        for inputs, outputs in ((s["width"], s["width"]), (s["width"], s["hidden"]), (s["hidden"], s["width"])):
            sizes = {"rows": s["rows"] // 2, "inputs": inputs, "outputs": outputs}
            x, w, y = t.drawn(sizes["rows"], inputs), t.drawn(outputs, inputs), t.drawn(sizes["rows"], outputs)
            for operation, run in (("linear_forward", lambda: x @ w.T), ("linear_backward_input", lambda: y @ w),
                                   ("linear_backward_weight", lambda: y.T @ x)):
                self.beside(f"{operation} {sizes['rows']}x{inputs}->{outputs}", lambda: self.ours(operation, **sizes), lambda: run)

    # ---- a step

    def transformers_step(self, length, attention, compiled, autocast):
        from transformers import Cohere2Config, Cohere2ForCausalLM

        m = self.sizes["step"]
        config = Cohere2Config(
            vocab_size=m["vocabulary"], hidden_size=m["width"], intermediate_size=m["hidden"], num_hidden_layers=m["layers"],
            num_attention_heads=m["heads"], num_key_value_heads=m["key_heads"], head_dim=m["head_size"], sliding_window=m["window"],
            rope_theta=50000.0, max_position_embeddings=length, logit_scale=0.25, attn_implementation=attention.split()[0], use_cache=False,
            layer_types=["full_attention" if i % 4 == 3 else "sliding_attention" for i in range(m["layers"])])
        with torch.device(self.theirs.device):  # initialized on the device
            model = Cohere2ForCausalLM(config).to(torch.float32 if autocast else self.theirs.type).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
        tokens = torch.randint(0, m["vocabulary"], (1, length), device=self.theirs.device)
        run = torch.compile(model) if compiled else model
        backends = [torch.nn.attention.SDPBackend.CUDNN_ATTENTION] if "cudnn" in attention else list(
            torch.nn.attention.SDPBackend.__members__.values())

        def step():
            with torch.nn.attention.sdpa_kernel(backends), torch.autocast(self.theirs.device, dtype=torch.bfloat16, enabled=autocast):
                run(input_ids=tokens, labels=tokens).loss.backward()
            optimizer.step()
            optimizer.zero_grad()

        return step

    def best_of_transformers(self, length, autocast):
        """The fastest of transformers' settings that runs here, and its seconds. autocast: fp32 weights, gradients and optimizer, as ours has;
        else all of them in bf16, which moves half the bytes."""
        seconds, why = {}, "no attention of transformers runs here"
        settings = [("sdpa", True), ("sdpa cudnn", True), ("flash_attention_2", True), ("flex_attention", False), ("flex_attention", True)]
        if self.theirs.device != "cuda":
            settings = [("sdpa", False)]
        elif autocast:
            settings = [("sdpa", True), ("flex_attention", True)]  # the fastest in bf16
        for attention, compiled in settings:
            name = attention + (" compiled" if compiled else "")
            try:
                step = self.transformers_step(length, attention, compiled, autocast)
                seconds[name] = [self.theirs(step) for _ in range(self.pairs)]
                print(f"  transformers, {name}{', autocast' if autocast else ''}: {statistics.median(seconds[name]):.4g} s", flush=True)
            except Exception as error:  # pylint: disable=broad-except  # a compiler or a missing package may throw anything
                why = f"{type(error).__name__} {str(error).splitlines()[0] if str(error) else ''}"  # not the exception: it would keep the model alive
                print(f"  transformers, {name}: {why}"[:150], flush=True)
            step = None
            if torch.compiler:
                torch.compiler.reset()
            gc.collect()
            self.theirs.give_back()
        if not seconds:
            raise RuntimeError(why)
        best = min(seconds, key=lambda name: statistics.median(seconds[name]))
        return best, seconds[best]

    def step(self):
        s = self.sizes
        self.report.heading(f"a training step: {s['step']['layers']} layers of width {s['step']['width']}, bf16, AdamW")
        seconds = {}  # length -> seconds of our steps
        for length in s["lengths"]:
            sizes = {"length": length, **s["step"], "recompute": length > 32768}
            answers = [self.ours("step", **sizes) for _ in range(self.pairs)]
            if "error" in answers[0]:
                self.left_out(f"step S={length}", answers[0]["error"])
                continue
            rates = [answer["flops"] / answer["seconds"] for answer in answers]
            self.report.add(f"step S={length}, visible pairs only", statistics.median(rates) / self.peak, "of peak",
                            UTILISATION.get(length, (None, None)), min(rates) / self.peak, max(rates) / self.peak,
                            f"{length * statistics.median(rates) / answers[0]['flops']:.4g} tokens/s")
            layers = 32 / s["step"]["layers"]
            mib = answers[0]["activation_bytes"] * layers / length / 2**20  # per token
            self.report.add(f"activations S={length}: {MOST_MIB_A_TOKEN} MiB a token / what 32 layers take", MOST_MIB_A_TOKEN / mib, "times",
                            (1, None) if length == 65536 else (None, None), rate=f"{mib:.3f} MiB")
            seconds[length] = [answer["seconds"] for answer in answers]
        if s["lengths"][0] in seconds:  # last, because it takes longest
            self.beside_transformers(s["lengths"][0], seconds[s["lengths"][0]], autocast=True)
            self.beside_transformers(s["lengths"][0], seconds[s["lengths"][0]], autocast=False)

    def beside_transformers(self, length, ours, autocast):
        """Steps relative to transformers', one after the other, because a device may not hold both."""
        name = f"step S={length} / transformers' Cohere2 in {'mixed precision' if autocast else 'bf16'}"
        self.ours("rest")
        try:
            setting, theirs = self.best_of_transformers(length, autocast)
        except RuntimeError as error:
            return self.left_out(name, error)
        return self.report.add(f"{name} ({setting})", statistics.median(theirs) / statistics.median(ours), "times as fast", STEP_OVER_TRANSFORMERS,
                               min(theirs) / max(ours), max(theirs) / min(ours))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path, help="ropewalk_device_benchmark")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="small sizes, to try the program on a CPU; the figures mean nothing")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of alternating measurements; the median counts (default 5)")
    parser.add_argument("--peak", type=float, default=989e12, help="dense bf16 FLOP/s of the GPU (default 989e12: H100 and H200 SXM)")
    parser.add_argument("--parts", nargs="+", default=["attention", "ring", "memory", "products", "step"],
                        choices=["attention", "ring", "rates", "memory", "products", "step"], help="what to measure (default: all but rates)")
    parser.add_argument("--json", type=pathlib.Path, default="benchmark_gpu.json", help="output file, written after each part (default: benchmark_gpu.json)")
    parser.add_argument("--check", action="store_true", help="check the options, and measure nothing")
    options = parser.parse_args()
    if options.check:
        return 0
    if not torch and options.parts != ["rates"]:
        sys.exit("device_report: needs torch; --peers PYTHON names an interpreter that has it (pip install torch transformers)")

    about = {"date": time.strftime("%Y-%m-%d"), "pairs": options.pairs}
    if torch:
        about |= {"device": torch.cuda.get_device_name() if options.device == "cuda" else "the host's CPU", "torch": torch.__version__}
    print("; ".join(f"{key} {value}" for key, value in about.items()))
    report = Table()
    seconds = 0.01 if options.small else 0.1
    driver = Driver(report, Ours(options.program, options.device, seconds), Theirs(options.device, seconds) if torch else None,
                    options.pairs, SMALL if options.small else FULL, options.peak)
    for part in options.parts:
        getattr(driver, part)()
        options.json.write_text(json.dumps({**about, "figures": [row._asdict() for row in report.rows]}, indent=1) + "\n")
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
