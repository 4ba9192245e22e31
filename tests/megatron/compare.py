"""Agreement with Megatron-LM about indexed datasets, by Megatron's own reader and writer:

    python3 tests/megatron/compare.py build/release/ropewalk INDEXED_DATASET_PY

INDEXED_DATASET_PY is megatron/core/datasets/indexed_dataset.py of a copy of NVIDIA/Megatron-LM. Python needs torch and numpy.
"""
import importlib.util
import json
import pathlib
import subprocess
import sys
import tempfile
import types

import numpy

VOCABULARY = 257
MODEL = """
model { layers: 1 width: 16 hidden: 16 query_heads: 2 key_heads: 1 head_size: 8 vocabulary: 257 pattern { mask: FULL } }
data { sequence_length: 8 tokenizer: "none" validation_fraction: 0 }
training { steps: 1 }
validation { sample_tokens: 0 }
output { directory: "run" }
"""


def megatron(path):
    """Megatron's module. What it imports of Megatron serves object stores and logs, which local files do not need."""

    class Anything(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            if name == "MultiStorageClientFeature":
                return types.SimpleNamespace(is_enabled=lambda: False)
            if name == "maybe_msc":
                return types.SimpleNamespace(open=open)
            return type(name, (), {}) if name[0].isupper() else lambda *arguments, **options: False

    for name in ("megatron", "megatron.core", "megatron.core.datasets", "megatron.core.datasets.object_storage_utils",
                 "megatron.core.msc_utils", "megatron.core.utils"):
        sys.modules[name] = Anything(name)
    spec = importlib.util.spec_from_file_location("indexed_dataset", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(program, folder, *words):
    done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documents_of(dataset):
    """A list of the sequences of each document."""
    ends = dataset.document_indices
    return [[dataset[s].tolist() for s in range(ends[d], ends[d + 1])] for d in range(len(ends) - 1)]


def megatron_reads_ours(module, program, folder):
    texts = ["first document", "second, with \u00e9 and \U0001f642", "x" * 100_000, "last"]
    (folder / "texts.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    run(program, folder, "prepare", "--input", "texts.jsonl", "--output", "ours")
    for mmap in (True, False):
        dataset = module.IndexedDataset(str(folder / "ours"), mmap=mmap)
        assert documents_of(dataset) == [[[*text.encode(), 256]] for text in texts], "Megatron reads other documents"


def we_read_megatrons(module, program, folder):
    random = numpy.random.default_rng(1)
    for dtype in module.DType:
        largest = 128 if dtype.name == "int8" else 256 if dtype.name == "uint8" else VOCABULARY
        builder = module.IndexedDatasetBuilder(str(folder / "theirs.bin"), dtype=getattr(numpy, dtype.name))
        tokens = []
        for lengths in ([5], [3, 4, 1], [], [20, 7], [1]):  # of the sequences of each document
            sequences = [random.integers(0, largest, size=length) for length in lengths]
            tokens += [int(token) for sequence in sequences for token in sequence]
            builder.add_document(numpy.concatenate(sequences) if sequences else numpy.zeros(0, dtype=numpy.int64), lengths)
        builder.finalize(str(folder / "theirs.idx"))
        (folder / "model.textproto").write_text(MODEL)
        told = run(program, folder, "validate", "model.textproto", "--set", "data.prefix=theirs", "--data")
        assert f"theirs: {len(tokens)} tokens in 5 documents, all in [0, 257)" in told, told
        raw = numpy.fromfile(folder / "theirs.bin", dtype=getattr(numpy, dtype.name))
        assert raw.astype(numpy.int64).tolist() == tokens, "Megatron wrote other tokens"
        if dtype.name.startswith("float"):
            raw[3] += 0.5
            raw.tofile(folder / "theirs.bin")
            refused = subprocess.run([program, "validate", "model.textproto", "--set", "data.prefix=theirs", "--data"], cwd=folder,
                                     capture_output=True, text=True, check=False)
            assert refused.returncode == 3 and "token 3 " in refused.stderr, refused.stderr


def main():
    program, path = str(pathlib.Path(sys.argv[1]).resolve()), sys.argv[2]
    module = megatron(path)
    for check in (megatron_reads_ours, we_read_megatrons):
        with tempfile.TemporaryDirectory() as folder:
            check(module, program, pathlib.Path(folder))
        print(f"{check.__name__}: agrees")


if __name__ == "__main__":
    main()
