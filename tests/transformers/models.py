"""Small random Cohere2 and Cohere models, in every combination of two options. Needs torch and transformers."""
import dataclasses
import itertools
import json
import pathlib
import random

import torch
from transformers import Cohere2Config, Cohere2ForCausalLM, CohereConfig, CohereForCausalLM

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# S: sliding window with RoPE, F: full attention without positions. V1: Cohere's first models, full attention with RoPE.
V1 = ["v1", "v1 with QK-Norm"]
ORDERS = [*V1, "SSSF", "SSSFS", "FSSS", "SFFSFS", "FFF", "SSSSS"]
MESHES = [{"dp": 2}, {"cp": 2}, {"tp": 2}, {"dp": 4}, {"cp": 4}, {"tp": 4}, {"cp": 2, "tp": 2}, {"dp": 2, "cp": 2}, {"dp": 2, "tp": 2}]
CHOICES = {
    "order": ORDERS,
    "heads": [(1, 1), (4, 4), (4, 2), (4, 1), (8, 2)],  # query heads, KV heads
    "head_size": ["width / heads", "twice that", 6],
    "window": [None, 1, 5, 1000],
    "dtype": list(DTYPES),
    "logit_scale": [0.0625, 0.25, 1.0, 1.7],
    "theta": [10000.0, 50000.0, 8e6],
    "epsilon": [1e-5, 1e-3],
    "vocabulary": [97, 256, 301],
    "sharded": [False, True],
    "keys": ["new", "old"],
    "exported": list(DTYPES),
    "two": MESHES[:3],
    "four": MESHES[3:],
    "width": [32],
    "hidden": [44],
}
LAYERS_OF_V1 = 3
TOKENIZER_FILES = {"tokenizer.json": '{"version": "1.0", "model": {}}\n', "tokenizer_config.json": '{ "chat_template": "\\u00e9" }',
                   "special_tokens_map.json": "{}"}


def valid(options):
    if (options["order"] in V1) != (options["window"] is None):
        return False
    query, key = options["heads"]
    return all(query % ranks == 0 and (key % ranks == 0 or ranks % key == 0)
               for ranks in (options["two"].get("tp", 1), options["four"].get("tp", 1)))


def pairs(options):
    return set(itertools.combinations(((name, repr(value)) for name, value in options.items()), 2))


def covering_designs(seed):
    """Options such that every possible pair of values of two options occurs: of 60 random candidates, each takes the one with most new pairs."""
    draw = random.Random(seed)

    def candidate():
        while True:
            options = {name: draw.choice(values) for name, values in CHOICES.items()}
            if options["order"] in V1:
                options["window"] = None
            if valid(options):
                return options

    possible = set().union(*(pairs(candidate()) for _ in range(20000)))
    while possible:
        best = max((candidate() for _ in range(60)), key=lambda options: len(pairs(options) & possible))
        if pairs(best) & possible:
            possible -= pairs(best)
            yield best


def settings_of(options):
    """The arguments of the transformers configuration."""
    (query, key), width = options["heads"], options["width"]
    size = {"width / heads": width // query, "twice that": 2 * width // query}.get(options["head_size"], options["head_size"])
    settings = dict(
        vocab_size=options["vocabulary"], hidden_size=width, intermediate_size=options["hidden"], num_attention_heads=query,
        num_key_value_heads=key,
        head_dim=size, logit_scale=options["logit_scale"], layer_norm_eps=options["epsilon"], max_position_embeddings=4096,
        rope_parameters={"rope_type": "default", "rope_theta": options["theta"]}, pad_token_id=0, bos_token_id=1, eos_token_id=2)
    if options["order"] in V1:
        return dict(settings, num_hidden_layers=LAYERS_OF_V1, use_qk_norm=options["order"] != "v1")
    kinds = {"S": "sliding_attention", "F": "full_attention"}
    return dict(settings, num_hidden_layers=len(options["order"]), sliding_window=options["window"],
                layer_types=[kinds[letter] for letter in options["order"]])


def random_model(options, seed):
    """Weights for which every part of the model matters: attention that is not uniform, logits with a deviation of about 2."""
    settings = settings_of(options)
    model = CohereForCausalLM(CohereConfig(**settings)) if options["order"] in V1 else Cohere2ForCausalLM(Cohere2Config(**settings))
    generator = torch.Generator().manual_seed(seed)
    scale = 2 / (options["logit_scale"] * options["width"]**0.5)  # of the embedding, and of what the layers add to it
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                weight.copy_(1 + 0.3 * noise)
            elif "embed_tokens" in name:
                weight.copy_(scale * noise)
            elif "o_proj" in name or "down_proj" in name:
                weight.copy_(scale * noise / weight.shape[1]**0.5)
            else:
                weight.copy_(1.4 * noise / weight.shape[1]**0.5)
    return model.to(DTYPES[options["dtype"]])


PUBLISHED = {"order_of_interleaved_layers": "local_attn_first", "cache_implementation": "hybrid", "position_embedding_type": "rope_gptj",
             "rotary_pct": 1.0, "use_embedding_sharing": True, "use_gated_activation": True, "use_parallel_block": True,
             "use_parallel_embedding": True}  # beside what transformers reads, in the config.json of Command R7B


def to_old_keys(config):
    """The configuration as it was published for transformers 4, without what follows from other keys."""
    config = dict(config)
    config["torch_dtype"] = config.pop("dtype")
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    if config["head_dim"] * config["num_attention_heads"] == config["hidden_size"]:
        del config["head_dim"]
    if config["num_key_value_heads"] == config["num_attention_heads"]:
        del config["num_key_value_heads"]
    kinds = config.get("layer_types")
    if kinds:
        full = [number + 1 for number, kind in enumerate(kinds) if kind == "full_attention"]
        pattern = full[0] if full else len(kinds) + 1
        if full == [number for number in range(1, len(kinds) + 1) if number % pattern == 0]:
            del config["layer_types"]  # the first releases had only a pattern, in which every n-th layer is full
            config.update(PUBLISHED, sliding_window_pattern=pattern, layer_switch=pattern)
    return config


def write_model(folder, options, seed):
    folder = pathlib.Path(folder)
    model = random_model(options, seed)
    size = sum(weight.numel() * weight.element_size() for weight in model.parameters())
    model.save_pretrained(folder, max_shard_size=size // 3 if options["sharded"] else size)
    if options["keys"] == "old":
        path = folder / "config.json"
        path.write_text(json.dumps(to_old_keys(json.loads(path.read_text())), indent=2) + "\n")
    for name, text in TOKENIZER_FILES.items():
        (folder / name).write_text(text)


def text_of(options):
    """One line that tells a model from others."""
    query, key = options["heads"]
    words = [f"{options['order']:6} {query}/{key} heads", f"size {options['head_size']}", f"window {options['window']}", options["dtype"],
             f"scale {options['logit_scale']}", f"{options['keys']} keys", "sharded" if options["sharded"] else "one file"]
    return ", ".join(words)
