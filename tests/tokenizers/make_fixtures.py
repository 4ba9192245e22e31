"""Writes tests/tokenizers/fixtures: small tokenizers with every option, texts, and their ids by Hugging Face's tokenizers (pip install tokenizers):
  python3 tests/tokenizers/make_fixtures.py
model.json is the vocabulary and the merges that all of them share, trained on the texts of texts.py. Each line of variants.jsonl has the rest of
one tokenizer.json ("tokenizer"), "ignore_merges", "older_merges" (a merge is a text with a space) and "cases": pairs of a text and its ids."""
import itertools
import json
import pathlib

import texts
import variants
from tokenizers import Tokenizer

FOLDER = pathlib.Path(__file__).parent / "fixtures"
COUNT, TEXTS = 120, 16


def ids_of(reference, text):
    """None if Hugging Face's code panics, as it does for some added tokens that follow one with rstrip."""
    try:
        return reference.encode(text, add_special_tokens=False).ids
    except BaseException as error:  # a PanicException is no Exception
        if type(error).__name__ != "PanicException":
            raise
        return None


def is_clear(tokenizer):
    """Whether the normalizer keeps the added tokens apart. Hugging Face's code never returns if it leaves nothing of one."""
    reference = Tokenizer.from_str(json.dumps(dict(tokenizer, added_tokens=[])))
    normal = [token["content"] for token in tokenizer["added_tokens"] if token["normalized"]]
    if reference.normalizer:
        normal = [reference.normalizer.normalize_str(content) for content in normal]
    return "" not in normal and len(set(normal)) == len(normal)


def cases(tokenizer, seed):
    chosen = [text for text in texts.texts(3 * TEXTS, [token["content"] for token in tokenizer["added_tokens"]], seed) if len(text) < 120][:TEXTS]
    reference = Tokenizer.from_str(json.dumps(tokenizer))
    found = [[text, ids_of(reference, text)] for text in chosen]
    return [case for case in found if case[1] is not None]


def main():
    model = variants.trained(600)
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "model.json").write_text(json.dumps(model, ensure_ascii=False) + "\n")
    lines = []
    drawn = ((seed, json.loads(variants.variant(model, seed))) for seed in itertools.count())
    for seed, tokenizer in itertools.islice((pair for pair in drawn if is_clear(pair[1])), COUNT):
        found = cases(tokenizer, seed)
        ignore, older = tokenizer["model"]["ignore_merges"], isinstance(tokenizer["model"]["merges"][0], str)
        del tokenizer["model"]
        lines.append(json.dumps({"tokenizer": tokenizer, "ignore_merges": ignore, "older_merges": older, "cases": found}, separators=(",", ":")))
    (FOLDER / "variants.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
