"""Compares normalizers and pre-tokenizers with Hugging Face's tokenizers, on random texts that are cut at random places.

    python3 tests/tokenizers/compare_with_hugging_face.py build/release/tests/trainer/tokenizer/ropewalk_split_program

Needs the package tokenizers (0.23.3 has the Unicode versions that the program's tables have). Every pre-tokenizer of PRE_TOKENIZERS meets
every normalizer of NORMALIZERS in turn. Other patterns than the published ones get characters of Unicode 14 only, as PCRE2's tables
know no later ones. Exit code 1: a difference, which is printed.
"""
import argparse
import json
import random
import subprocess
import sys
import unicodedata

from tokenizers import Tokenizer, models

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
SPACE_RULES = r"\s*[\r\n]+|\s+(?!\S)|\s+"
CASED = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s%s|"
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|" + SPACE_RULES
QWEN2 = LLAMA3.replace("{1,3}", "")
O200K = (CASED % ("*", "+", CONTRACTIONS + "?") + CASED % ("+", "*", CONTRACTIONS + "?") + r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" +
         SPACE_RULES)
TEKKEN = CASED % ("*", "+", "") + CASED % ("+", "*", "") + r"\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|" + SPACE_RULES
PUBLISHED = (GPT2, LLAMA3, QWEN2, O200K, TEKKEN)
OTHERS = (r"\s?[A-Za-zÀ-ÿ]+", r"\s+$", r"[\r\n]", r"[一-龥ぁ-ヿ]+", r"\p{N}{1,3}", r"\d{1,3}(?=(?:\d{3})*(?!\d))", r"[^\s\S]|\S+|[\S\n]",
          r"\p{Han}+|\P{L}{2,3}?", r"(?>a|ab)(c)?|.x", r"[\p{P}\p{S}]+[\r\n]*", r"(?i:'s|'d|k)|\p{M}++",
          r"[!-/:-~]?+\p{L}++|\s*[\r\n]|\s+(?!\S)|\s", LLAMA3 + r"|x", r"[\-\]\\a\t]|\u00e9|\x{301}|\v|\f")
LITERALS = (" ", "ab", "aab", "é", "\n\n", "'")
BEHAVIORS = ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous")

CHARACTERS = list("aabbcdefstmlrvesABESTx0123459  \t\n\r'''.,-/!_\x0b\x0c\x00\x1c\x7f\x85\xa0ſKéßǅʰ") + list(
    "\u0300\u0301\u0315\u0334\u0345\u0344\u180e\u200b\u200d\u2028\u2029\u202f\u3000\ufeff\u1680漢字ア한ᄒ\u1161\u11abあ١²½ⅧÅﬁﬀㆎ🙂🏽\u0f73\u09c7\u09be\u1fbc"
    "\U0001d400\U0001f1e6\U00011de0\U00016ff4\U0002ebf0\u0378\U000e0001\U0010ffff\ue000")


def byte_level(use_regex=True, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def digits(individual):
    return {"type": "Digits", "individual_digits": individual}


def pre_tokenizers():
    """Lists of steps, and whether characters that Unicode 14 does not know may be in the texts."""
    plain = byte_level(use_regex=False)
    for individual in (False, True):
        for prefix in (False, True):
            yield [digits(individual), byte_level(prefix=prefix)], True
    for prefix in (False, True):
        yield [byte_level(prefix=prefix)], True
        yield [byte_level(use_regex=False, prefix=prefix)], True
        yield [split(" ", "MergedWithNext", kind="String"), byte_level(prefix=prefix)], True
        yield [split(LLAMA3), byte_level(prefix=prefix)], True
        yield [split("ab", "Removed", kind="String"), digits(True), byte_level(use_regex=False, prefix=prefix)], True
    for pattern in PUBLISHED:
        yield [split(pattern), plain], True
        yield [split(pattern, "Removed", True), plain], True
    for pattern, kind in [(p, "Regex") for p in PUBLISHED + OTHERS] + [(p, "String") for p in LITERALS]:
        for behavior in BEHAVIORS:
            for invert in (False, True):
                yield [split(pattern, behavior, invert, kind), plain], kind == "String" or pattern in PUBLISHED
    for pattern in OTHERS:
        yield [split(pattern), digits(True), split(GPT2), byte_level()], False
        yield [split(LLAMA3, "Contiguous"), split(pattern, "MergedWithNext"), byte_level(prefix=True)], False


def forms(*names):
    return [{"type": name} for name in names]


def replace(text, by):
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


NORMALIZERS = [[], *(forms(name) for name in ("NFC", "NFD", "NFKC", "NFKD")), [{"type": "Prepend", "prepend": "▁"}], [replace(" ", "▁")],
               [replace("aab", "e\u0301"), *forms("NFC"), replace("é", "")], [*forms("NFD"), replace("e\u0301", "ab"), *forms("NFKC")],
               [{"type": "Prepend", "prepend": "e"}, *forms("NFC")]]


def random_text(rng, all_of_unicode):
    length = rng.choice((0, 1, 2, 3, 5, 8, 13, 20, 40))
    alphabet = rng.sample(CHARACTERS, rng.randint(1, 12)) if rng.random() < 0.6 else CHARACTERS
    text = ""
    while len(text) < length:
        c = rng.choice(alphabet) if rng.random() < 0.9 else chr(rng.choice((rng.randrange(0x3000), rng.randrange(0x110000))))
        if 0xD800 <= ord(c) < 0xE000 or not (all_of_unicode or known_to_unicode_14(c)):
            continue
        text += c * (1 if rng.random() < 0.9 else rng.randint(2, 5))
    return text


def known_to_unicode_14(c):
    # Of the changes after Unicode 14, these are characters that are unassigned there; U+180E and the like stay.
    return unicodedata.category(c) != "Cn"


def random_cuts(rng, text):
    ends = sorted(rng.sample(range(len(text) + 1), rng.randint(0, min(len(text), 12))))
    return [len(text[:end].encode()) for end in ends] + [len(text.encode())]


# The characters of ByteLevel for the 256 bytes.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
BYTE_OF = {chr(b): b for b in PRINTABLE} | {chr(0x100 + i): b for i, b in enumerate(b for b in range(256) if b not in PRINTABLE)}


def expected(tokenizer, text):
    normalized = tokenizer.normalizer.normalize_str(text) if tokenizer.normalizer else text
    if not normalized:
        return {"normalized": "", "pieces": []}  # a tokenizer has no pre-tokens then, whatever its prefix
    pieces = [bytes(BYTE_OF[c] for c in piece).decode() for piece, _ in tokenizer.pre_tokenizer.pre_tokenize_str(normalized)]
    return {"normalized": normalized, "pieces": pieces}


def cases(seed, count):
    """Settings, each with its texts and cuts; at least `count` texts in all."""
    rng = random.Random(seed)
    variants = list(pre_tokenizers())
    each = -(-count // len(variants))
    for i, (steps, all_of_unicode) in enumerate(variants):
        for normalizer in (NORMALIZERS[0], NORMALIZERS[1 + (i + seed) % (len(NORMALIZERS) - 1)]):
            texts = [random_text(rng, all_of_unicode) for _ in range(-(-each // 2))]
            yield normalizer, steps, [(text, random_cuts(rng, text)) for text in texts]


def tokenizer_of(normalizer, steps):
    setting = json.loads(Tokenizer(models.BPE()).to_str())
    setting["normalizer"] = {"type": "Sequence", "normalizers": normalizer} if normalizer else None
    setting["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
    return Tokenizer.from_str(json.dumps(setting))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=120_000, help="texts")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    all_cases = list(cases(options.seed, options.count))
    lines = []
    for normalizer, steps, texts in all_cases:
        lines.append(json.dumps({"normalizer": normalizer, "pre_tokenizer": steps}))
        lines += [json.dumps({"text": text, "cuts": cuts}) for text, cuts in texts]
    done = subprocess.run([options.program], input="\n".join(lines) + "\n", stdout=subprocess.PIPE, text=True, check=True)
    results = iter(done.stdout.split("\n"))
    compared = different = 0
    for normalizer, steps, texts in all_cases:
        tokenizer = tokenizer_of(normalizer, steps)
        for text, cuts in texts:
            ours, theirs = json.loads(next(results)), expected(tokenizer, text)
            compared += 1
            if ours != theirs:
                different += 1
                if different <= 10:
                    print(f"{json.dumps(normalizer)} {json.dumps(steps)}\n  text {text!a} cut at {cuts}\n  here {ours}\n  Hugging Face {theirs}")
    print(f"{compared} texts, {len(all_cases)} settings, {different} differences")
    return different > 0


if __name__ == "__main__":
    sys.exit(main())
