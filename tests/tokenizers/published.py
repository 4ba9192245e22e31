"""Makes tokenizer.json files of published vocabularies, from packages of PyPI that carry them:
  pip download --no-deps -d DOWNLOADS openai-whisper llama-models dashscope
  python3 tests/tokenizers/published.py DOWNLOADS OUTPUT
OUTPUT/gpt2, llama3, qwen2 and command-r (GPT-2's vocabulary, split as in Command R, with its kind of begin token) are directories with
tokenizer.json and tokenizer_config.json. They are for comparisons only; mind the licences of the vocabularies."""
import base64
import json
import pathlib
import sys
import tarfile
import zipfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def ranks_of(downloads, package, member):
    """The tokens of a .tiktoken file, in the order of their ranks."""
    path = next(downloads.glob(f"{package}-*"))
    if path.suffix == ".whl":
        data = zipfile.ZipFile(path).read(member)
    else:
        archive = tarfile.open(path)
        data = archive.extractfile(next(name for name in archive.getnames() if name.endswith(member))).read()
    lines = (line.split() for line in data.splitlines() if line)
    return [token for _, token in sorted((int(rank), base64.b64decode(token)) for token, rank in lines)]


def letters():
    same = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in same]
    return {byte: chr(byte) for byte in same} | {byte: chr(256 + i) for i, byte in enumerate(others)}


def merges_of(tokens):
    """The merge that makes each token: its two parts when merges of lower rank are done."""
    ranks, merges = {token: rank for rank, token in enumerate(tokens)}, []
    for rank, token in enumerate(tokens):
        parts = [token[i:i + 1] for i in range(len(token))]
        while len(parts) > 2:
            best, place = min((ranks.get(parts[i] + parts[i + 1], len(tokens)), i) for i in range(len(parts) - 1))
            if best >= rank:
                break
            parts[place:place + 2] = [parts[place] + parts[place + 1]]
        if len(parts) == 2:
            merges.append(tuple(parts))
    return merges


def bpe(tokens, **options):
    letter = letters()
    spelled = ["".join(letter[byte] for byte in token) for token in tokens]
    spell = dict(zip(tokens, spelled))
    vocabulary = {token: rank for rank, token in enumerate(spelled)}
    return Tokenizer(models.BPE(vocab=vocabulary, merges=[(spell[a], spell[b]) for a, b in merges_of(tokens)], **options))


def save(tokenizer, directory, end):
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(directory / "tokenizer.json"))
    (directory / "tokenizer_config.json").write_text(json.dumps({"eos_token": end}))


def begins_with(tokenizer, token):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B",
                                         special_tokens=[(token, tokenizer.token_to_id(token))])


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"),
                                    pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def special(*contents, **options):
    return [AddedToken(content, special=True, normalized=False, **options) for content in contents]


def main():
    downloads, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    gpt2_tokens = ranks_of(downloads, "openai_whisper", "assets/gpt2.tiktoken")

    gpt2 = bpe(gpt2_tokens)
    gpt2.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=True)])
    gpt2.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    save(gpt2, output / "gpt2", "<|endoftext|>")

    command_r = bpe(gpt2_tokens)
    command_r.add_special_tokens(special("<PAD>", "<UNK>", "<BOS_TOKEN>", "<EOS_TOKEN>"))
    command_r.add_special_tokens(special("<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>"))
    command_r.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                                       pre_tokenizers.ByteLevel(add_prefix_space=False)])
    command_r.post_processor = begins_with(command_r, "<BOS_TOKEN>")
    save(command_r, output / "command-r", "<EOS_TOKEN>")

    llama3 = bpe(ranks_of(downloads, "llama_models", "llama_models/llama3/tokenizer.model"), ignore_merges=True)
    llama3.add_special_tokens(special("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"))
    llama3.add_special_tokens(special(*(f"<|reserved_special_token_{i}|>" for i in range(251))))
    llama3.pre_tokenizer = split_then_bytes(LLAMA3)
    llama3.post_processor = begins_with(llama3, "<|begin_of_text|>")
    save(llama3, output / "llama3", "<|end_of_text|>")

    qwen2 = bpe(ranks_of(downloads, "dashscope", "dashscope/resources/qwen.tiktoken"))
    qwen2.add_special_tokens(special("<|endoftext|>", "<|im_start|>", "<|im_end|>"))
    from tokenizers import normalizers
    qwen2.normalizer = normalizers.NFC()
    qwen2.pre_tokenizer = split_then_bytes(QWEN2)
    save(qwen2, output / "qwen2", "<|endoftext|>")


if __name__ == "__main__":
    main()
