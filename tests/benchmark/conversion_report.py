"""Measures `ropewalk import` and `export` beside a copy of the same bytes by cp with fsync, on a generated model of Command R7B's shape
(16 GB; needs three times that on the disk; --layers 2 makes it 3 GB):
  python3 tests/benchmark/conversion_report.py build/release/ropewalk DIRECTORY [--layers N] [--rounds N]
Each round runs copy, import, copy, export, in this order. Before each, the files to read are dropped from the page cache. Prints the
rates, their ratios to that of the copies in the same round, and the peak resident memory."""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import struct
import subprocess
import sys
import time

PART = 8 << 20
SHARD_BYTES = 5_000_000_000
WIDTH, HIDDEN, KEY_WIDTH, VOCABULARY = 4096, 14336, 1024, 256000
BLOCK = {
    "input_layernorm.weight": [WIDTH],
    "self_attn.q_proj.weight": [WIDTH, WIDTH],
    "self_attn.k_proj.weight": [KEY_WIDTH, WIDTH],
    "self_attn.v_proj.weight": [KEY_WIDTH, WIDTH],
    "self_attn.o_proj.weight": [WIDTH, WIDTH],
    "mlp.gate_proj.weight": [HIDDEN, WIDTH],
    "mlp.up_proj.weight": [HIDDEN, WIDTH],
    "mlp.down_proj.weight": [WIDTH, HIDDEN],
}


def config(layers):
    return {"architectures": ["Cohere2ForCausalLM"], "model_type": "cohere2", "vocab_size": VOCABULARY, "hidden_size": WIDTH,
            "intermediate_size": HIDDEN, "num_hidden_layers": layers, "num_attention_heads": 32, "num_key_value_heads": 8,
            "logit_scale": 0.25, "rope_theta": 50000, "sliding_window": 4096, "sliding_window_pattern": 4,
            "layer_norm_eps": 1e-5, "torch_dtype": "bfloat16", "max_position_embeddings": 8192}


def bytes_of(shape):
    return 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)


def write_shard(path, tensors, values):
    header, at = {}, 0
    for name, shape in tensors:
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + bytes_of(shape)]}
        at += bytes_of(shape)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for number, (_, shape) in enumerate(tensors):
            left, shift = bytes_of(shape), 2 * number  # so that no two tensors are alike
            while left > 0:
                part = values[shift:shift + left]
                file.write(part)
                left, shift = left - len(part), 0
        os.fsync(file.fileno())


def generate(directory, layers):
    """Values are bf16 between 2^-7 and 2^-6, of either sign."""
    draw = random.Random(1)
    low, high = draw.randbytes(PART // 2), bytes(0x3c | (byte & 0x80) for byte in draw.randbytes(PART // 2))
    values = bytes(byte for pair in zip(low, high) for byte in pair)
    tensors = [("model.embed_tokens.weight", [VOCABULARY, WIDTH])]
    tensors += [(f"model.layers.{layer}.{name}", shape) for layer in range(layers) for name, shape in BLOCK.items()]
    tensors.append(("model.norm.weight", [WIDTH]))
    shards, filled = [[]], 0
    for name, shape in tensors:
        if shards[-1] and filled + bytes_of(shape) > SHARD_BYTES:
            shards.append([])
            filled = 0
        shards[-1].append((name, shape))
        filled += bytes_of(shape)
    directory.mkdir(parents=True)
    names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
    for name, shard in zip(names, shards):
        write_shard(directory / name, shard, values)
    weight_map = {tensor: name for name, shard in zip(names, shards) for tensor, _ in shard}
    (directory / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    (directory / "config.json").write_text(json.dumps(config(layers)))


def weights_of(directory):
    return sorted(directory.glob("*.safetensors"))


def drop_from_cache(directory):
    for path in weights_of(directory):
        with open(path, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy(source, target):
    target.mkdir()
    for path in weights_of(source):
        subprocess.run(["cp", path, target], check=True)
        with open(target / path.name, "rb") as file:
            os.fsync(file.fileno())


def timed(what, source, target, action):
    """Returns bytes a second and the peak memory of a child process that does it."""
    shutil.rmtree(target, ignore_errors=True)
    drop_from_cache(source)
    size = sum(path.stat().st_size for path in weights_of(source))
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        action()
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    seconds = time.monotonic() - began
    if status != 0:
        sys.exit(f"{what} failed: {status}")
    rate = size / seconds
    print(f"{what:8} {size / 1e9:6.2f} GB in {seconds:7.1f} s  {rate / 1e6:7.0f} MB/s  {usage.ru_utime + usage.ru_stime:6.1f} CPU-s"
          f"  peak {usage.ru_maxrss / 1024:6.0f} MiB", flush=True)
    return rate


def run_program(*words):
    return lambda: os.execv(words[0], [str(word) for word in words])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--layers", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = options.directory / "conversion"
    shutil.rmtree(work, ignore_errors=True)
    model, checkpoint, exported, copied = work / "model", work / "checkpoint", work / "exported", work / "copied"
    generate(model, options.layers)
    os.sync()
    ratios = {"import": [], "export": []}
    for _ in range(options.rounds):
        for what, source, target in (("import", model, checkpoint), ("export", checkpoint, exported)):
            of_copy = timed("copy", source, copied, lambda: copy(source, copied))
            shutil.rmtree(copied)
            ratios[what].append(timed(what, source, target, run_program(options.program, what, source, "--output", target)) / of_copy)
        shutil.rmtree(exported)
    for what, values in ratios.items():
        print(f"{what} / copy: median {statistics.median(values):.2f} of {', '.join(f'{value:.2f}' for value in values)}")
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
