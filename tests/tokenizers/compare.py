"""Compares ids, and the texts that ids give, with those of Hugging Face's tokenizers (pip install tokenizers):
  python3 tests/tokenizers/compare.py build/release/ropewalk --files DIRECTORIES --texts 100000 --variants 200 --seed 1
DIRECTORIES have a tokenizer.json each, such as those that published.py makes; each encodes the number of texts, and so do all variants together:
small tokenizers with options drawn at random (variants.py). Texts on which Hugging Face's code panics are left out, and counted. The texts of
bpe_tokenizer_test are cut everywhere."""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import make_fixtures
import texts
import variants
from tokenizers import Tokenizer


def answers(program, verb, directory, options, member, values):
    lines = "".join(json.dumps({member: value}) + "\n" for value in values)
    result = subprocess.run([program, "tokenizer", verb, "--tokenizer", directory, *options], input=lines, capture_output=True, text=True, check=False)
    if result.returncode:
        sys.exit(f"{directory}: {result.stderr}")
    found = [json.loads(line) for line in result.stdout.split("\n")[:-1]]  # splitlines would also cut at U+2028
    if len(found) != len(values):
        sys.exit(f"{directory}: {len(values)} lines, but {len(found)} answers")
    return found


def same(where, given, found, expected):
    if found != expected:
        sys.exit(f"{where}: {json.dumps(given)}\n  found    {json.dumps(found)}\n  expected {json.dumps(expected)}")


def compare(program, directory, count, seed):
    """Returns how many texts were compared and left out; ends the program at a difference."""
    path = pathlib.Path(directory) / "tokenizer.json"
    reference = Tokenizer.from_file(str(path))
    given = texts.texts(count, [token["content"] for token in json.loads(path.read_text())["added_tokens"]], seed)
    expected = [make_fixtures.ids_of(reference, text) for text in given]
    for text, found, ids in zip(given, answers(program, "encode", directory, [], "text", given), expected):
        if ids is not None:
            same(f"{directory} (seed {seed})", text, found["ids"], ids)
    left_out = expected.count(None)
    return count - left_out, left_out


def compare_templates_and_decoding(program, directory, count, seed):
    path = pathlib.Path(directory) / "tokenizer.json"
    reference = Tokenizer.from_file(str(path))
    added = json.loads(path.read_text())["added_tokens"]
    given = texts.texts(count, [token["content"] for token in added], seed)
    for text, found in zip(given, answers(program, "encode", directory, ["--add-special-tokens"], "text", given)):
        same(f"{directory}: --add-special-tokens", text, found["ids"], reference.encode(text).ids)
    draw, known = random.Random(seed), sorted(reference.get_vocab().values())
    choices = [known, known, known, [token["id"] for token in added] or known]
    ids = [[draw.choice(draw.choice(choices)) for _ in range(draw.randrange(30))] for _ in range(count)]
    for options, skip in ([], True), (["--keep-special-tokens"], False):
        for each, found in zip(ids, answers(program, "decode", directory, options, "ids", ids)):
            same(f"{directory}: decode {options}", each, found["text"], reference.decode(each, skip_special_tokens=skip))


def compare_variants(program, number, count, seed):
    model, compared, left_out = variants.trained(600), 0, 0
    for each in range(seed * number, (seed + 1) * number):
        made = variants.variant(model, each)
        if not make_fixtures.is_clear(json.loads(made)):
            continue
        with tempfile.TemporaryDirectory() as directory:
            (pathlib.Path(directory) / "tokenizer.json").write_text(made)
            try:
                found = compare(program, directory, count // number, each)
                compared, left_out = compared + found[0], left_out + found[1]
            except SystemExit as failure:
                sys.exit(f"variant {each}, of which variants.py makes tokenizer.json: {failure}")
    return compared, left_out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--files", nargs="*", default=[], metavar="DIRECTORY")
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--variants", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    for directory in options.files:
        compared, left_out = compare(options.program, directory, options.texts, options.seed)
        compare_templates_and_decoding(options.program, directory, options.texts // 4, options.seed + 1)
        print(f"{directory}: {compared} texts have equal ids, {left_out} are left out; {options.texts // 4} templates and decoded texts are equal",
              flush=True)
    if options.variants:
        compared, left_out = compare_variants(options.program, options.variants, options.texts, options.seed)
        print(f"variants: {compared} texts have equal ids, {left_out} are left out")


if __name__ == "__main__":
    main()
