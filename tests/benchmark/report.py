"""Measures the CPU backend, and prints a table of ratios and their goals; also writes them as JSON.

Kernels and steps: CPU-seconds of one thread, relative to the machine's limit. Runs alternate with a measurement of that limit
(ropewalk_benchmark). Peers: CPU-seconds relative to PyTorch's and transformers' programs in peers/, in alternating runs. They need
--peers PYTHON, an interpreter with torch and transformers. Ranks: wall time of `ropewalk train` on two ranks relative to one, in
alternating runs, and that of two independent programs at once, which is the machine's limit. This needs two idle cores. Network: steps
of two data-parallel ranks with 1 Gbit/s between them, and how long they wait for gradients and weights. This needs root, for network
namespaces.
"""
import argparse
import itertools
import json
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "support"))
from hosts import NoHosts, TwoHosts  # noqa: E402
from table import Table  # noqa: E402

# name -> (minimum, aim) of the ratio to the yardstick
SHARES = {
    "products in a step S=512": (0.80, 0.90),
    "products in a step S=2048": (0.80, 0.90),
    "attention forward S=4096 K=128": (0.70, 0.76),
    "attention forward S=4096 K=64": (0.60, 0.68),
    "attention backward S=4096 K=128": (0.62, 0.70),
    "attention backward S=4096 K=64": (0.55, 0.64),
    "attention forward S=2048 K=16": (0.45, None),
    "attention backward S=2048 K=16": (0.55, None),
    "step S=512": (0.78, 0.85),
    "step S=2048": (0.80, 0.85),
    "step S=8192": (0.80, 0.85),
    "AdamW": (0.75, 0.90),
    "add": (0.75, 0.90),
    "layer norm forward": (0.75, 0.90),
    "layer norm backward": (0.75, 0.90),
    "rotation": (0.75, 0.90),
    "SwiGLU forward": (0.75, 0.90),
    "SwiGLU backward": (0.75, 0.90),
    "embedding forward": (0.75, 0.90),
    "embedding backward": (0.75, 0.90),
    "bf16 products in a step S=512": (0.60, 0.80),
    "bf16 products in a step S=2048": (0.60, 0.80),
}
SHARES |= {f"bf16 {name}": SHARES[name] for name in ("AdamW", "add", "layer norm forward", "layer norm backward", "rotation", "SwiGLU forward",
                                                     "SwiGLU backward", "embedding forward", "embedding backward")}
# bf16 relative to fp32, where the processor has AMX
BF16_OVER_FP32 = {
    "attention forward S=4096 K=128": (3.0, 4.0),
    "attention backward S=4096 K=128": (2.5, 3.5),
    "step S=2048": (3.0, 4.0),
}
PARTS = ["kernels", "bf16", "peers", "prepare", "ranks", "network"]
WINDOW_OVER_CAUSAL = (0.80, 0.90)  # rate per visible query-key pair
WINDOW_OVER_TORCH = (40, 60)
STEP_OVER_TRANSFORMERS = {512: (1.6, 1.9), 2048: (2.0, 2.5), 8192: (3.0, 5.0)}
BF16_STEP_OVER_TRANSFORMERS = {512: (1.5, 2.0), 2048: (2.0, 3.0), 8192: (3.0, 5.0)}
TWO_RANKS = (1.8, 1.93)
PREPARE_MB_PER_SECOND = (200, None)


class Benchmark:
    def __init__(self, program):
        self.program = program

    def lines(self, pattern, pairs):
        with subprocess.Popen([self.program, "--filter", pattern, "--pairs", str(pairs)], stdout=subprocess.PIPE, text=True) as job:
            for line in job.stdout:
                yield json.loads(line)
        if job.returncode:
            sys.exit(f"report: {self.program} failed")

    def figure(self, name, pairs):
        return next(self.lines(f"^{re.escape(name)}$", pairs))


def kernels(report, benchmark, pairs):
    report.heading("one thread, as a fraction of the machine's multiply-add rate, or of its bandwidth for a copy or an update in place")
    shares = {}
    for pattern, count in (("^(bf16 )?(product|attention) ", pairs), ("^(bf16 )?(?!bf16|product|attention|step)", pairs),
                           ("step", max(3, pairs // 2))):
        for line in benchmark.lines(pattern, count):
            shares[line["name"]] = line["share"]
            report.add(line["name"], line["share"], f"of {line['yardstick']}", SHARES.get(line["name"], (None, None)),
                       line["share_low"], line["share_high"], f"{line['rate'] / 1e9:.1f} {line['unit']}")
    for prefix, K in itertools.product(("", "bf16 "), (128, 64)):
        for way in ("forward", "backward"):
            causal, window = f"{prefix}attention {way} S=4096 K={K}", f"{prefix}attention {way} S=16384 K={K} W=512"
            if causal in shares and window in shares:
                report.add(f"{prefix}window / causal, {way} K={K}", shares[window] / shares[causal], "per pair", WINDOW_OVER_CAUSAL)


def bf16(report, benchmark, pairs):
    report.heading("bf16 relative to fp32, CPU time, alternating runs")
    for name in ("attention forward S=4096 K=128", "attention backward S=4096 K=128", "attention forward S=16384 K=64 W=512",
                 "attention backward S=16384 K=64 W=512", "step S=512", "step S=2048", "step S=8192"):
        ratios, rate = [], ""
        for _ in range(pairs if name != "step S=8192" else max(1, pairs // 3)):
            narrow, wide = (benchmark.figure(f"{prefix}{name}", 1)["rate"] / 1e9 for prefix in ("bf16 ", ""))
            ratios.append(narrow / wide)
            rate = f"{narrow:.1f} / {wide:.1f} GFLOP/s"
        report.add(f"{name}, bf16 / fp32", statistics.median(ratios), "times", BF16_OVER_FP32.get(name, (None, None)), min(ratios),
                   max(ratios), rate)


def peer_rate(python, script, *arguments):
    """The figures that a peer prints on its last line: name -> GFLOP/s of CPU time."""
    output = subprocess.run([python, HERE / "peers" / script, *map(str, arguments)], check=True, capture_output=True, text=True).stdout
    return {key: float(value) for key, value in re.findall(r"(\w+)=([0-9.]+)", output.splitlines()[-1])}


def peers(report, benchmark, python, pairs):
    report.heading("relative to PyTorch and transformers, GFLOP/s of CPU time, alternating runs")
    for way in ("forward", "backward"):
        ratios, rate = [], ""
        for _ in range(pairs):
            ours = benchmark.figure(f"attention {way} S=16384 K=128 W=512", 1)["rate"] / 1e9
            theirs = peer_rate(python, "torch_attention.py", "--length", 16384, "--head-size", 128, "--window", 512)[f"{way}_gflops"]
            ratios.append(ours / theirs)
            rate = f"{ours:.1f} / {theirs:.1f} GFLOP/s"
        report.add(f"window attention {way} S=16384 W=512 / torch", statistics.median(ratios), "times",
                   WINDOW_OVER_TORCH if way == "forward" else (None, None), min(ratios), max(ratios), rate)
    for length, goal in STEP_OVER_TRANSFORMERS.items():
        ratios, rate = [], ""
        for _ in range(pairs if length < 8192 else 1):
            ours = benchmark.figure(f"step S={length}", 1)["rate"] / 1e9
            theirs = peer_rate(python, "torch_step.py", "--length", length)["gflops_per_cpu_second"]
            ratios.append(ours / theirs)
            rate = f"{ours:.1f} / {theirs:.1f} GFLOP/s"
        report.add(f"step S={length} / transformers' Cohere2", statistics.median(ratios), "times", goal, min(ratios), max(ratios), rate)
    for length, goal in BF16_STEP_OVER_TRANSFORMERS.items():
        ratios, rate = [], ""
        for _ in range(pairs if length < 8192 else 1):
            ours = benchmark.figure(f"bf16 step S={length}", 1)["rate"] / 1e9
            theirs, best = max((peer_rate(python, "torch_step.py", "--length", length, "--precision", precision, "--attention", attention)
                                ["gflops_per_cpu_second"], f"{precision}, {attention}")
                               for precision in ("autocast", "pure") for attention in ("sdpa", "eager"))
            ratios.append(ours / theirs)
            rate = f"{ours:.1f} / {theirs:.1f} GFLOP/s ({best})"
        report.add(f"bf16 step S={length} / transformers' best in bf16", statistics.median(ratios), "times", goal, min(ratios),
                   max(ratios), rate)


def prepare(report, ropewalk, folder):
    text = folder / "text.txt"
    text.write_bytes(b"".join(b"Line %d of a text that is long and has no end in sight.\n" % i for i in range(3_000_000)))
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    subprocess.run([ropewalk, "prepare", "--input", text, "--output", folder / "long"], check=True, capture_output=True)
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    report.heading("data")
    report.add("prepare, bytes", text.stat().st_size / 1e6 / seconds, "MB/s a core", PREPARE_MB_PER_SECOND)


SCALING = """
model { layers: 4 width: 512 hidden: 1408 query_heads: 8 key_heads: 4 head_size: 64 vocabulary: 4096
  pattern { mask: SLIDING window: 512 position: ROPE theta: 50000 } pattern { mask: SLIDING window: 512 position: ROPE theta: 50000 }
  pattern { mask: SLIDING window: 512 position: ROPE theta: 50000 } pattern { mask: FULL } }
data { prefix: "long" sequence_length: 8192 }
training { steps: 3 batch: 2 }
validation { interval: 0 sample_tokens: 0 }
checkpoint { interval: 0 }
output { directory: "run" log_interval: 1 }
"""


RANKS_ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def median_step(directory, first):
    """Median seconds of a step, from step `first` on."""
    steps = [json.loads(line)["seconds"] for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return statistics.median(steps[first:])


def ranks(report, ropewalk, folder, pairs):
    (folder / "scaling.textproto").write_text(SCALING)

    def start(count, *settings):
        directory = folder / f"run{time.monotonic_ns()}"
        words = [word for setting in (f"output.directory={directory}", *settings) for word in ("--set", setting)]
        job = subprocess.Popen(["mpirun", "--bind-to", "none", "-n", str(count), ropewalk, "train", "scaling.textproto", *words],
                               cwd=folder, env=RANKS_ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return job, directory

    def seconds(*jobs):
        """Median seconds of a step without the first one; of several jobs, that of the slowest."""
        medians = []
        for job, directory in jobs:
            if job.wait():
                sys.exit(f"report: {' '.join(map(str, job.args))} failed")
            medians.append(median_step(directory, first=1))
        return max(medians)

    report.heading("two ranks relative to one, on two cores, wall time, S=8192, 4 layers of width 512")
    ceilings, ratios = [], {"context": [], "tensor": [], "data": []}
    for _ in range(pairs):
        one = seconds(start(1))
        ceilings.append(2 * one / seconds(start(1), start(1)))
        for axis, measured in ratios.items():
            measured.append(one / seconds(start(2, f"parallel.{axis}_parallel=2")))
    ceiling = statistics.median(ceilings)
    report.add("limit: two independent programs at once", ceiling, "times", low=min(ceilings), high=max(ceilings))
    for axis, measured in ratios.items():
        ratio = statistics.median(measured)
        report.add(f"{axis}-parallel", ratio, "times", TWO_RANKS, min(measured), max(measured), f"{ratio / ceiling:.0%} of the limit")


NETWORK = """
model { layers: 8 width: 512 hidden: 1408 query_heads: 8 key_heads: 4 head_size: 64 vocabulary: 257
  pattern { mask: SLIDING window: 128 position: ROPE theta: 50000 } pattern { mask: FULL } }
data { prefix: "long" sequence_length: 512 }
training { steps: 8 batch: 2 }
validation { interval: 0 sample_tokens: 0 }
checkpoint { interval: 0 }
output { directory: "run" log_interval: 1 trace_steps: 5 trace_after: 2 }
"""


def network(report, ropewalk, folder, pairs):
    (folder / "network.textproto").write_text(NETWORK)

    def run(hosts, bucket):
        """Seconds of a step, and of its exposed communication: sending gradients and weights, and waiting for them."""
        directory = folder / f"run{time.monotonic_ns()}"
        words = ["mpirun", "--bind-to", "none", "--quiet", *hosts.mpirun_options(folder), ropewalk, "train", "network.textproto",
                 "--set", f"output.directory={directory}", "--set", f"parallel.bucket_parameters={bucket}"]
        subprocess.run(words, check=True, cwd=folder, env=RANKS_ENVIRONMENT, capture_output=True)
        events = json.loads((directory / "trace/rank-00000.json").read_text())["traceEvents"]
        exposed = sum(event["dur"] for event in events if event["ph"] == "X" and event["args"].get("axis") == "gradient")
        return median_step(directory, first=3), exposed / 1e6 / 5

    report.heading("two data-parallel ranks, 1 Gbit/s between them, wall time, S=512, 8 layers of width 512 (24 M parameters)")
    try:
        with TwoHosts(slots=1, rate="1gbit") as hosts:
            by_block, at_once = zip(*((run(hosts, 0), run(hosts, 2**31 - 1)) for _ in range(pairs)))
    except NoHosts as reason:
        print(f"left out: {reason}")
        return
    speedups = [b[0] / a[0] for a, b in zip(by_block, at_once)]
    report.add("a bucket for each block / a single bucket", statistics.median(speedups), "times as fast", low=min(speedups), high=max(speedups))
    for name, measured in (("a bucket for each block", by_block), ("a single bucket", at_once)):
        shares = [exposed / step for step, exposed in measured]
        report.add(f"exposed communication, {name}", statistics.median(shares), "of a step", low=min(shares),
                   high=max(shares), rate=f"{statistics.median(exposed for _, exposed in measured):.3f} s")


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "")
    widest = next((name for name, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2")) if flag in flags.split()), "no AVX2")
    return f"{model}, {os.cpu_count()} CPUs, {widest}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="the build folder, with ropewalk and its benchmark")
    parser.add_argument("--pairs", type=int, default=7, help="runs that alternate with a yardstick or peer; the median counts (default 7)")
    parser.add_argument("--peers", metavar="PYTHON", help="an interpreter with torch and transformers; without it, the peers are not measured")
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS, help="what to measure (default: all)")
    parser.add_argument("--json", type=pathlib.Path, help="output file (default: BUILD/benchmark.json)")
    parser.add_argument("--check", action="store_true", help="check the options, and measure nothing")
    options = parser.parse_args()
    if options.check:
        return

    build = options.build.resolve()
    report, benchmark = Table(), Benchmark(build / "tests/benchmark/ropewalk_benchmark")
    about = {"machine": machine(), "date": time.strftime("%Y-%m-%d"), "load": os.getloadavg()[0], "pairs": options.pairs}
    print(f"{about['machine']}; {about['date']}; load {about['load']:.2f} at the start")
    if "kernels" in options.parts:
        kernels(report, benchmark, options.pairs)
    if "bf16" in options.parts:
        bf16(report, benchmark, options.pairs)
    if "peers" in options.parts and options.peers:
        peers(report, benchmark, options.peers, max(1, options.pairs // 2))
    with tempfile.TemporaryDirectory(prefix="ropewalk-benchmark-") as folder:
        if {"prepare", "ranks", "network"} & set(options.parts):
            prepare(report, build / "ropewalk", pathlib.Path(folder))
        if "ranks" in options.parts:
            ranks(report, build / "ropewalk", pathlib.Path(folder), max(1, options.pairs // 2))
        if "network" in options.parts:
            network(report, build / "ropewalk", pathlib.Path(folder), max(1, options.pairs // 2))
    target = options.json or build / "benchmark.json"
    target.write_text(json.dumps({**about, "figures": [row._asdict() for row in report.rows]}, indent=1) + "\n")
    print(f"\nwritten to {target}")


if __name__ == "__main__":
    main()
