"""Compares `ropewalk tokenizer train` with Hugging Face's BpeTrainer (pip install tokenizers):
  python3 tests/tokenizers/compare_training.py build/release/ropewalk --trials 300 --seed 0
Each trial draws texts, a pattern, special tokens (some look like letters of the byte alphabet), a minimum count and a size. The vocabulary and the
merges must be equal, and the files of one and three threads have the same bytes. Where the text is too short, both must find it so."""
import argparse
import collections
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import texts
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

PATTERNS = ["gpt2", "llama3", "qwen2", "o200k", "command-r"]
# U+0120 and U+010A are the letters of a space and of a newline.
SPECIALS = ["<|endoftext|>", "<s>", "a", "th", "\u0120", "\u0120t", "\u00e9", "\u0120the", "\u6f22", " ", "\u00c3\u00a9", "of the", "\u010a"]


def train(program, work, pattern, special, least, size, threads=1):
    """The bytes of the file; None if the text gives fewer tokens."""
    output = work / "tokenizer.json"
    words = [program, "tokenizer", "train", "--input", work / "texts.jsonl", "--output", output, "--overwrite", "--pattern", pattern,
             "--minimum-count", str(least), "--vocabulary", str(size), "--threads", str(threads)]
    for token in special:
        words += ["--special-token", token]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode == 3 and "the text gives only" in done.stderr:
        return None
    if done.returncode:
        sys.exit(f"{words}: {done.stderr}")
    return output.read_bytes()


def write_texts(work, documents):
    (work / "texts.jsonl").write_text("".join(json.dumps({"text": document}) + "\n" for document in documents))


def splitters(program, work):
    """The pre-tokenizer of each pattern, as Hugging Face's code reads it from a file."""
    write_texts(work, ["the of " * 50])
    return {pattern: Tokenizer.from_str(train(program, work, pattern, ["<s>"], 0, 258).decode()).pre_tokenizer for pattern in PATTERNS}


def expected_model(splitter, documents, special, least, size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = splitter
    trainer = trainers.BpeTrainer(vocab_size=size, min_frequency=least, special_tokens=special, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(documents, trainer)
    return json.loads(tokenizer.to_str())["model"]


def trial(program, work, known, seed):
    draw = random.Random(seed)
    pattern, special = draw.choice(PATTERNS), draw.sample(SPECIALS, draw.randrange(1, 4))
    least, size = draw.choice((0, 0, 2, 5)), draw.choice((300, 400, 700))
    documents = texts.texts(draw.choice((20, 300, 2000)), [], seed)
    write_texts(work, documents)
    found = train(program, work, pattern, special, least, size)
    where = f"seed {seed} ({pattern}, {special}, minimum count {least}, vocabulary {size})"
    if found != train(program, work, pattern, special, least, size, threads=3):
        sys.exit(f"{where}: three threads give another file")
    expected = expected_model(known[pattern], documents, special, least, size)
    if found is None:
        if len(expected["vocab"]) >= size:
            sys.exit(f"{where}: refused, but the text suffices")
        return "too short for both"
    made = json.loads(found)["model"]
    if (made["vocab"], made["merges"]) != (expected["vocab"], expected["merges"]):
        sys.exit(f"{where}: other tokens {sorted(set(made['vocab'].items()) ^ set(expected['vocab'].items()))[:6]}, or other merges")
    return "equal"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        known = splitters(options.program, work)
        print(dict(collections.Counter(trial(options.program, work, known, options.seed + each) for each in range(options.trials))))


if __name__ == "__main__":
    main()
