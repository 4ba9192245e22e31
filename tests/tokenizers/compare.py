"""Compares ids with those of Hugging Face's tokenizers (pip install tokenizers):
  python3 tests/tokenizers/compare.py build/release/ropewalk --files DIRECTORIES --texts 100000 --variants 200 --seed 1
DIRECTORIES have a tokenizer.json each, such as those that published.py makes; each encodes the number of texts, and so do all variants together:
small tokenizers with options drawn at random (variants.py). bpe_tokenizer_test cuts texts everywhere."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import make_fixtures
import texts
import variants
from tokenizers import Tokenizer


def ids_of_ropewalk(program, directory, given):
    lines = "".join(json.dumps({"text": text}) + "\n" for text in given)
    result = subprocess.run([program, "tokenizer", "encode", "--tokenizer", directory], input=lines, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{directory}: {result.stderr}")
    return [json.loads(line)["ids"] for line in result.stdout.splitlines()]


def compare(program, directory, count, seed):
    """Returns how many texts were compared; ends the program at a difference."""
    path = pathlib.Path(directory) / "tokenizer.json"
    reference = Tokenizer.from_file(str(path))
    given = texts.texts(count, [token["content"] for token in json.loads(path.read_text())["added_tokens"]], seed)
    compared = 0
    found = ids_of_ropewalk(program, directory, given)
    if len(found) != len(given):
        sys.exit(f"{directory}: {len(given)} texts, but {len(found)} answers")
    for text, ids in zip(given, found):
        expected = make_fixtures.ids_of(reference, text)
        if expected is not None and ids != expected:
            sys.exit(f"{directory} (seed {seed}): {json.dumps(text)}\n  ids      {ids}\n  expected {expected}")
        compared += expected is not None
    return compared


def compare_variants(program, number, count, seed):
    model, compared = variants.trained(600), 0
    for each in range(seed * number, (seed + 1) * number):
        made = variants.variant(model, each)
        if not make_fixtures.is_clear(json.loads(made)):
            continue
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "tokenizer.json").write_text(made)
            try:
                compared += compare(program, directory, count // number, each)
            except SystemExit as failure:
                sys.exit(f"variant {each}, of which variants.py makes tokenizer.json: {failure}")
    return compared


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--files", nargs="*", default=[], metavar="DIRECTORY")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for directory in options.files:
        compared = compare(options.program, directory, options.texts, options.seed)
        print(f"{directory}: {compared} texts have equal ids", flush=True)
    if options.variants:
        print(f"variants: {compare_variants(options.program, options.variants, options.texts, options.seed)} texts have equal ids")


if __name__ == "__main__":
    main()
