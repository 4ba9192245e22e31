"""Writes the character tables of trainer/tokenizer/: unicode_ranges.inc, the classes by which pre-tokenizers split, and word_ranges.inc, the
characters of words. Hugging Face's tokenizers takes each class from another version of Unicode, so this asks the package (pip install
tokenizers) for every code point:
  python3 tests/tokenizers/unicode_ranges.py trainer/tokenizer
With --check, compares the files with the package instead."""
import argparse
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers

POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
CLASSES = {"kLetter": r"\p{L}", "kNumber": r"\p{N}", "kSpace": r"\s"}
AT_ONCE = 4096


def matched(pattern):
    """The code points that the pattern matches: those that Split removes."""
    split, found = pre_tokenizers.Split(Regex(pattern), "removed"), []
    for begin in range(0, len(POINTS), AT_ONCE):
        part = POINTS[begin:begin + AT_ONCE]
        left = {ord(letter) for piece, _ in split.pre_tokenize_str("".join(map(chr, part))) for letter in piece}
        found += [point for point in part if point not in left]
    return found


def only_digits(numbers):
    """What the pre-tokenizer Digits takes for a number, but \\p{N} does not."""
    split, numbers = pre_tokenizers.Digits(individual_digits=True), set(numbers)
    return [point for point in POINTS if point not in numbers and len(split.pre_tokenize_str(f"a{chr(point)}a")) == 3]


def of_words():
    """What must not touch a token that is a single word."""
    tokenizer, mark = Tokenizer(models.BPE(vocab={}, merges=[])), "\u00a7"
    tokenizer.add_tokens([AddedToken(mark, single_word=True, normalized=False)])
    return [point for point in POINTS if chr(point) != mark and not tokenizer.encode(mark + chr(point)).ids]


def ranges(points):
    out = []
    for point in points:
        if out and out[-1][1] == point:
            out[-1][1] += 1
        else:
            out.append([point, point + 1])
    return out


def table(found):
    """found: {(the last part of a cell, what matches them): code points}"""
    lines = [f"// Written by tests/tokenizers/unicode_ranges.py from tokenizers {tokenizers.__version__}; do not edit."]
    lines += [f"// {what}: {len(points)} characters" for (_, what), points in found.items()]
    cells = sorted((begin, end, name) for (name, _), points in found.items() for begin, end in ranges(points))
    line = ""
    for begin, end, name in cells:
        cell = f"{{0x{begin:x}, 0x{end:x}{name}}},"
        if len(line) + len(cell) + 1 > 118:
            lines.append(line)
            line = ""
        line += (" " if line else "") + cell
    return "\n".join(lines + [line]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    classes = {(f", {name}", pattern): matched(pattern) for name, pattern in CLASSES.items()}
    classes[", kNewNumber", "Digits alone"] = only_digits(classes[", kNumber", CLASSES["kNumber"]])
    for name, text in {"unicode_ranges.inc": table(classes), "word_ranges.inc": table({("", "words"): of_words()})}.items():
        path = options.directory / name
        if not options.check:
            path.write_text(text)
        elif path.read_text().splitlines()[1:] != text.splitlines()[1:]:
            sys.exit(f"{path} differs")


if __name__ == "__main__":
    main()
