"""Small tokenizers with every supported option, drawn at random, as tokenizer.json files. The vocabulary is trained on the words of texts.py."""
import json
import random

import texts
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# Not published ones, for PCRE2; their classes hold nothing that is younger than its Unicode 14.
OTHER = [r"[0-9]{1,3}|[a-zA-Z]+|\s", r"\s+$|[^\s]+", r" ?[A-Za-z\u00c0-\u00ff]+|\d+|[\u4e00-\u9fff]", r"\s+(?!\S)|\s",
         r"(?i:the|of)|[^\r\n\S]+", r"[\s\d]+", r"(?:ab?)++|[!-/:-@]"]
BEHAVIORS = ["removed", "isolated", "merged_with_previous", "merged_with_next", "contiguous"]
CONTENTS = ["<s>", "</s>", "<|end|>", "<|end|><|end|>", "[X]", "the", " of", "\u00e9", "e\u0301", "  ", "\n\n", "a b", "\u212b", "1234", "\u6f22\u5b57",
            "<mask>", "\ufb01", "'s", "\u00df\u00df"]


def trained(size):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(texts.texts(3000, [], 99), trainer)
    return json.loads(tokenizer.to_str())["model"]


def normalizer(draw):
    kinds = {"NFC": normalizers.NFC, "NFD": normalizers.NFD, "NFKC": normalizers.NFKC, "NFKD": normalizers.NFKD}
    def one():
        kind = draw.choice([*kinds, *kinds, "Prepend", "Replace"])
        if kind == "Prepend":
            return normalizers.Prepend(draw.choice((" ", "_", "\u2581")))
        if kind == "Replace":
            return normalizers.Replace(draw.choice((" ", "the", "\u00e9", "''")), draw.choice(("", "_", "ab")))
        return kinds[kind]()
    return draw.choice((None, None, one(), one(), normalizers.Sequence([one(), one()])))


def pre_tokenizer(draw):
    steps = []
    for _ in range(draw.choice((0, 0, 1, 1, 2))):
        kind = draw.randrange(3)
        if kind == 0:
            steps.append(pre_tokenizers.Digits(individual_digits=draw.random() < 0.6))
        elif kind == 1:
            steps.append(pre_tokenizers.Split(draw.choice(("the", " ", "'", "\u00e9", "aa")), draw.choice(BEHAVIORS), invert=draw.random() < 0.3))
        else:
            pattern = draw.choice((GPT2, LLAMA3, LLAMA3.replace("{1,3}", ""), *OTHER))
            steps.append(pre_tokenizers.Split(Regex(pattern), draw.choice((*BEHAVIORS, "isolated")), invert=draw.random() < 0.2))
    level = pre_tokenizers.ByteLevel(add_prefix_space=draw.random() < 0.3, use_regex=draw.random() < 0.5)
    return pre_tokenizers.Sequence([*steps, level]) if steps or draw.random() < 0.2 else level


def added_tokens(draw, vocabulary):
    tokens = []
    for content in draw.sample(CONTENTS, draw.randrange(0, 7)):
        special = draw.random() < 0.4
        tokens.append({"id": vocabulary.get(content, len(vocabulary) + sum(token["content"] not in vocabulary for token in tokens)),
                       "content": content, "single_word": draw.random() < 0.25, "lstrip": draw.random() < 0.25, "rstrip": draw.random() < 0.25,
                       "normalized": draw.random() < 0.5, "special": special})
    return tokens


def variant(model, seed):
    """The text of a tokenizer.json."""
    draw = random.Random(seed)
    tokenizer = Tokenizer(models.BPE())
    if (chosen := normalizer(draw)) is not None:
        tokenizer.normalizer = chosen
    tokenizer.pre_tokenizer = pre_tokenizer(draw)
    made = json.loads(tokenizer.to_str())
    made["model"] = dict(model, ignore_merges=draw.random() < 0.4)
    if draw.random() < 0.3:
        made["model"]["merges"] = [" ".join(pair) for pair in model["merges"]]
    made["added_tokens"] = added_tokens(draw, model["vocab"])
    return json.dumps(made, ensure_ascii=draw.random() < 0.5)
