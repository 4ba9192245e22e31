#!/usr/bin/env python3
"""Makes tests/transformers/fixtures: small Hugging Face models, and what transformers computes from them in fp64, for fixtures_test.py.

    python3 tests/transformers/make_fixtures.py [NAME]...      all of them if no name is given; needs torch and transformers

Other releases of torch may draw other random weights, or round the last digit in another way."""
import json
import pathlib
import random
import shutil
import sys

import torch
import transformers

import checks
import models
import packed
import tensor_files
import truth

FOLDER = pathlib.Path(__file__).resolve().parent / "fixtures"
COMMON = {"width": 16, "hidden": 20, "vocabulary": 61, "window": None, "theta": 10000.0, "epsilon": 1e-5}
FIXTURES = {
    "cohere2_bf16_shards": {
        "order": "SSSF", "heads": (4, 2), "head_size": "width / heads", "window": 5, "dtype": "bf16", "logit_scale": 0.25, "sharded": True,
        "keys": "new", "theta": 50000.0},
    "cohere2_old_keys": {  # five layers: the pattern ends in the middle; text can be scored, because the vocabulary has all bytes
        "order": "SSSFS", "heads": (4, 4), "head_size": 6, "window": 3, "dtype": "fp32", "logit_scale": 0.0625, "sharded": False,
        "keys": "old", "vocabulary": 259},
    "cohere2_window_1": {
        "order": "FSSF", "heads": (2, 1), "head_size": "twice that", "window": 1, "dtype": "fp16", "logit_scale": 1.0, "sharded": False,
        "keys": "new"},
    "cohere2_odd_order": {
        "order": "SFFSF", "heads": (4, 1), "head_size": "width / heads", "window": 1000, "dtype": "bf16", "logit_scale": 1.7, "sharded": True,
        "keys": "old", "epsilon": 1e-3},
    "cohere2_all_full": {  # no layer has RoPE or a window, but config.json has theta and window
        "order": "FF", "heads": (1, 1), "head_size": 6, "window": 7, "dtype": "bf16", "logit_scale": 1.0, "sharded": False, "keys": "new",
        "theta": 50000.0},
    "cohere_qk_norm": {
        "order": "v1 with QK-Norm", "heads": (4, 2), "head_size": 6, "dtype": "bf16", "logit_scale": 0.0625, "sharded": False,
        "keys": "old", "theta": 8e6},
    "cohere": {
        "order": "v1", "heads": (4, 1), "head_size": "width / heads", "dtype": "fp32", "logit_scale": 0.25, "sharded": True, "keys": "new"},
}
ALL_GRADIENTS = "cohere2_bf16_shards"  # of the others, digests only
LENGTHS = [(1, 1), (5, 3), (70, 6), (2, 17)]
TEXTS = [("A rope is made in a rope w", "alk."), ("", "\u00e9\U0001f642")]  # an empty context: the end of a document comes before
END_OF_DOCUMENT, BYTES = 256, 257
SEQUENCE = 24


def request_of_bytes(context, continuation):
    return {"context_ids": list(context.encode()) or [END_OF_DOCUMENT], "continuation_ids": list(continuation.encode())}


def expected(folder, requests, ids, exact):
    told, _ = truth.truth(folder, requests, ids, exact)
    return told, {**told, "gradients": {name: checks.digest(values) for name, values in told["gradients"].items()}}


def write_expected(path, values):
    lines = [f'"{key}": {json.dumps(value)}' for key, value in values.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def write_packed(folder, vocabulary, seed):
    """packed.json: a packed batch with masked targets, and what transformers makes of it."""
    batch = packed.draw(vocabulary, seed)
    for kind, exact in (("exact", True), ("shipped", False)):
        told = truth.truth_of_packed(folder / "model", batch, exact)
        batch[kind] = {**told, "gradients": {name: checks.digest(values) for name, values in told["gradients"].items()}}
    write_expected(folder / "packed.json", {"made_by": f"transformers {transformers.__version__}", **batch})


def make(name, options, seed):
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    models.write_model(folder / "model", options, seed)
    vocabulary = options["vocabulary"]
    requests = truth.make_requests(truth.load(folder / "model", torch.float64), vocabulary, seed, LENGTHS)
    texts = TEXTS if vocabulary >= BYTES else []
    ids = random.Random(seed).choices(range(1, vocabulary), k=SEQUENCE + 1)  # 0 is the padding token, which transformers treats apart
    as_ids = [*requests, *(request_of_bytes(*text) for text in texts)]
    full, exact = expected(folder / "model", as_ids, ids, True)
    _, shipped = expected(folder / "model", as_ids, ids, False)
    if name == ALL_GRADIENTS:
        shapes = {tensor: list(weight.shape) for tensor, weight in truth.load(folder / "model", "auto").named_parameters()}
        tensor_files.write_safetensors(folder / "gradients.safetensors", {tensor: (shapes[tensor], full["gradients"][tensor]) for tensor in shapes})
    requests += [{"context": context, "continuation": continuation} for context, continuation in texts]
    write_expected(folder / "expected.json", {"made_by": f"transformers {transformers.__version__}", "requests": requests, "ids": ids,
                                              "exact": exact, "shipped": shipped})
    write_packed(folder, vocabulary, seed)


def main():
    transformers.utils.logging.disable_progress_bar()
    unknown = set(sys.argv[1:]) - FIXTURES.keys()
    if unknown:
        sys.exit(f"make_fixtures: there is no fixture {sorted(unknown)}; the fixtures are {sorted(FIXTURES)}")
    for seed, (name, options) in enumerate(FIXTURES.items()):
        if not sys.argv[1:] or name in sys.argv[1:]:
            make(name, {**COMMON, **options}, seed)
            print(f"{name}: {sum(path.stat().st_size for path in (FOLDER / name).rglob('*') if path.is_file())} bytes")


if __name__ == "__main__":
    main()
