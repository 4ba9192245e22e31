"""Writes trainer/tokenizer/word_ranges.inc: the characters of words, which must not touch an added token that is a single word. Asks Hugging
Face's tokenizers (pip install tokenizers) for every code point:
  python3 tests/tokenizers/word_ranges.py trainer/tokenizer/word_ranges.inc
With --check, compares the file with the package instead."""
import argparse
import pathlib
import sys

import tokenizers
from tokenizers import AddedToken, Tokenizer, models

POINTS = [point for point in range(0x110000) if not 0xD800 <= point < 0xE000]


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


def table(points):
    lines = [f"// Written by tests/tokenizers/word_ranges.py from tokenizers {tokenizers.__version__}; do not edit: {len(points)} characters."]
    line = ""
    for begin, end in ranges(points):
        cell = f"{{0x{begin:x}, 0x{end:x}}},"
        if len(line) + len(cell) + 1 > 118:
            lines.append(line)
            line = ""
        line += (" " if line else "") + cell
    return "\n".join(lines + [line]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    text = table(of_words())
    if not options.check:
        options.file.write_text(text)
    elif options.file.read_text().splitlines()[1:] != text.splitlines()[1:]:
        sys.exit(f"{options.file} differs")


if __name__ == "__main__":
    main()
