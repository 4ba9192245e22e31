"""Measures tokenizers beside Hugging Face's (pip install tokenizers), on one thread, in CPU-seconds:
  python3 tests/tokenizers/benchmark.py build/release/ropewalk --files DIRECTORIES --text TEXT [--train 32000] [--pairs 3]
DIRECTORIES have a tokenizer.json each. TEXT is cut into documents of about 20 kB. Loading is measured alone and taken off. Hugging Face's time is
the better of encode and encode_batch_fast. --train also learns that many tokens, with both. Prints medians over pairs that alternate."""
import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
from tokenizers import Tokenizer, models, pre_tokenizers, trainers  # noqa: E402


def documents_of(path, size=20_000):
    documents, now = [], []
    for line in path.read_text().splitlines(keepends=True):
        now.append(line)
        if sum(map(len, now)) > size:
            documents.append("".join(now))
            now = []
    return documents + ["".join(now)] if now else documents


def run(words, **options):
    """CPU-seconds of a child process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def timed(action):
    began = time.process_time()
    action()
    return time.process_time() - began


def encode(program, directory, documents, pairs, work):
    megabytes = sum(len(document.encode()) for document in documents) / 1e6
    lines = work / "documents.jsonl"
    lines.write_text("".join(json.dumps({"text": document}, ensure_ascii=False) + "\n" for document in documents))
    reference = Tokenizer.from_file(str(pathlib.Path(directory) / "tokenizer.json"))
    output = work / "out"
    prepare = [program, "prepare", "--input", lines, "--tokenizer", directory, "--output", output, "--overwrite", "--threads", "1"]
    (work / "one.jsonl").write_text('{"text": "a"}\n')
    nothing = [word if word != lines else work / "one.jsonl" for word in prepare]
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(run(prepare) - run(nothing))
        theirs.append(min(timed(lambda: reference.encode_batch_fast(documents, add_special_tokens=False)),
                          timed(lambda: [reference.encode(document, add_special_tokens=False) for document in documents])))
    own, other = statistics.median(ours), statistics.median(theirs)
    print(f"{pathlib.Path(directory).name:12} prepare {megabytes / own:6.1f} MB/s   Hugging Face {megabytes / other:6.1f} MB/s   ratio {other / own:5.1f}",
          flush=True)


def train(program, text, vocabulary, pairs, work):
    ours, theirs = [], []
    for _ in range(pairs):
        ours.append(run([program, "tokenizer", "train", "--input", text, "--vocabulary", str(vocabulary), "--output", work / "t/tokenizer.json",
                         "--threads", "1", "--overwrite"]))
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=vocabulary, special_tokens=["<|endoftext|>"], show_progress=False,
                                      initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
        theirs.append(timed(lambda: tokenizer.train([str(text)], trainer)))
    found = json.loads((work / "t/tokenizer.json").read_text())["model"]
    expected = json.loads(tokenizer.to_str())["model"]
    same = all(found[key] == expected[key] for key in ("vocab", "merges"))
    own, other = statistics.median(ours), statistics.median(theirs)
    print(f"train {vocabulary}: {own:.1f} CPU-s   Hugging Face {other:.1f} CPU-s   ratio {other / own:.1f}   {'the same' if same else 'OTHER'} merges")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--files", nargs="*", default=[])
    parser.add_argument("--text", type=pathlib.Path, required=True)
    parser.add_argument("--train", type=int)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    documents = documents_of(options.text)
    with tempfile.TemporaryDirectory() as work:
        for directory in options.files:
            encode(options.program, directory, documents, options.pairs, pathlib.Path(work))
        if options.train:
            train(options.program, options.text, options.train, options.pairs, pathlib.Path(work))


if __name__ == "__main__":
    main()
