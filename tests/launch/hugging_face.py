"""Writes Hugging Face models of any size for tests of the program. Their weights are zeros that take no room on the disk, or small random numbers."""
import json
import random
import struct

CONFIG = {"architectures": ["Cohere2ForCausalLM"], "model_type": "cohere2", "num_attention_heads": 4, "num_key_value_heads": 2, "logit_scale": 0.25,
          "rope_theta": 50000, "sliding_window": 16, "sliding_window_pattern": 4, "layer_norm_eps": 1e-5, "torch_dtype": "bfloat16",
          "max_position_embeddings": 64, "eos_token_id": 3}


def shapes(config):
    """Name -> shape of every tensor of a model."""
    width, hidden = config["hidden_size"], config["intermediate_size"]
    keys = width // config["num_attention_heads"] * config["num_key_value_heads"]
    block = {"input_layernorm": [width], "self_attn.q_proj": [width, width], "self_attn.k_proj": [keys, width], "self_attn.v_proj": [keys, width],
             "self_attn.o_proj": [width, width], "mlp.gate_proj": [hidden, width], "mlp.up_proj": [hidden, width], "mlp.down_proj": [width, hidden]}
    found = {"model.embed_tokens.weight": [config["vocab_size"], width], "model.norm.weight": [width]}
    for layer in range(config["num_hidden_layers"]):
        found.update({f"model.layers.{layer}.{name}.weight": shape for name, shape in block.items()})
    return found


def write_model(folder, *, layers=4, width=32, hidden=48, vocabulary=257, is_random=True, **keys):
    """Writes a model in bf16, with these keys in its config.json. Returns the number of bytes of its data."""
    config = {**CONFIG, "num_hidden_layers": layers, "hidden_size": width, "intermediate_size": hidden, "vocab_size": vocabulary, **keys}
    header, size = {}, 0
    for name, shape in shapes(config).items():
        length = 2 * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [size, size + length]}
        size += length
    text = json.dumps(header).encode()
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with open(folder / "model.safetensors", "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        if is_random:
            data = bytearray(random.Random(1).randbytes(size))
            data[1::2] = b"\x3c" * (size // 2)  # the upper bytes: all values are from 2^-7 to 2^-6
            file.write(data)
        else:
            file.truncate(8 + len(text) + size)
    return size
