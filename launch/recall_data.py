#!/usr/bin/env python3
"""Writes conversations whose answer stands far back in the prompt, as JSON lines to fine-tune on:

    python3 launch/recall_data.py --text book.txt --bytes 8000 --count 500 > recall.jsonl

A prompt is a passage of the text with sentences "The number of WORD is N." spread over it, and the question for one of these numbers; the
completion is the number. Prompts have from an eighth of --bytes to --bytes bytes. The same arguments give the same lines."""
import argparse
import json
import pathlib
import random
import sys

FACTS = 8  # of a prompt


def conversation(draw, text, words, most):
    length = draw.randrange(most // 8, most - 64 * FACTS)
    begin = draw.randrange(max(1, len(text) - length))
    passage = text[begin:begin + length]
    facts = [(word, draw.randrange(1000, 10000)) for word in draw.sample(words, FACTS)]
    cuts = sorted(draw.randrange(len(passage) + 1) for _ in facts)
    pieces = [passage[a:b] for a, b in zip([0, *cuts], [*cuts, len(passage)])]
    told = "".join(f"{piece}\nThe number of {word} is {number}.\n" for piece, (word, number) in zip(pieces, facts)) + pieces[-1]
    word, number = draw.choice(facts)
    return {"prompt": f"{told}\nWhat is the number of {word}?\n", "completion": str(number)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, nargs="+", type=pathlib.Path, help="files of ASCII text; other characters are left out")
    parser.add_argument("--bytes", required=True, type=int, help="of the longest prompt; at least 1024")
    parser.add_argument("--count", required=True, type=int, help="conversations")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    text = "".join(path.read_text(encoding="ascii", errors="ignore") for path in options.text)
    words = sorted({word for word in text.split() if word.isalpha() and 3 <= len(word) <= 16})
    if options.bytes < 1024 or len(words) < FACTS:
        sys.exit(f"recall_data: --bytes must be at least 1024, and the text must have at least {FACTS} words; it has {len(words)}")
    draw = random.Random(options.seed)
    for _ in range(options.count):
        print(json.dumps(conversation(draw, text, words, options.bytes)))


if __name__ == "__main__":
    main()
