"""Writes trainer/tokenizer/unicode_ranges.inc: the classes of characters by which pre-tokenizers split, in the version of Unicode that Hugging
Face's tokenizers uses. Asks the package for every code point (pip install tokenizers):
  python3 tests/tokenizers/unicode_ranges.py > trainer/tokenizer/unicode_ranges.inc
With --check FILE it compares instead."""
import argparse
import pathlib
import sys

import tokenizers
from tokenizers import Regex, pre_tokenizers

CLASSES = {"kLetter": r"\p{L}", "kNumber": r"\p{N}", "kSpace": r"\s"}
AT_ONCE = 4096


def members(pattern):
    """The code points that the pattern matches: those that Split removes."""
    split, found = pre_tokenizers.Split(Regex(pattern), "removed"), []
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]
    for begin in range(0, len(points), AT_ONCE):
        part = points[begin:begin + AT_ONCE]
        left = {ord(letter) for piece, _ in split.pre_tokenize_str("".join(map(chr, part))) for letter in piece}
        found += [point for point in part if point not in left]
    return found


def only_digits(numbers):
    """What the pre-tokenizer Digits takes for a number, but \\p{N} does not: it has a newer Unicode."""
    split, numbers = pre_tokenizers.Digits(individual_digits=True), set(numbers)
    points = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000 and point not in numbers]
    return [point for point in points if len(split.pre_tokenize_str(f"a{chr(point)}a")) == 3]


def ranges(points):
    out = []
    for point in points:
        if out and out[-1][1] == point:
            out[-1][1] += 1
        else:
            out.append([point, point + 1])
    return out


def table():
    lines, all_ranges = [], []
    found = {name: (pattern, members(pattern)) for name, pattern in CLASSES.items()}
    found["kNewNumber"] = ("Digits alone", only_digits(found["kNumber"][1]))
    for name, (pattern, points) in found.items():
        lines.append(f"// {pattern}: {len(points)} characters")
        all_ranges += [(begin, end, name) for begin, end in ranges(points)]
    lines = ["// Written by tests/tokenizers/unicode_ranges.py; do not edit. The characters of each class, as Hugging Face's tokenizers "
             f"{tokenizers.__version__} has them."] + lines
    cells = [f"{{0x{begin:x}, 0x{end:x}, {name}}}," for begin, end, name in sorted(all_ranges)]
    line = ""
    for cell in cells:
        if len(line) + len(cell) + 1 > 118:
            lines.append(line)
            line = ""
        line += (" " if line else "") + cell
    return "\n".join(lines + [line]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", type=pathlib.Path)
    options = parser.parse_args()
    if not options.check:
        sys.stdout.write(table())
    elif options.check.read_text().splitlines()[1:] != table().splitlines()[1:]:
        sys.exit(f"{options.check} differs")


if __name__ == "__main__":
    main()
