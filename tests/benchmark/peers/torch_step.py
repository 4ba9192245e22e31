"""One training step (forward, loss, backward, AdamW) of transformers' Cohere2ForCausalLM on one thread, with the model of
step_cases.cpp, in fp32, under autocast to bf16, or with weights and optimizer in bf16 (pure). Prints GFLOP/s of CPU time, counting model FLOPs: 6 per token and matrix element, 12 * heads * head size per visible
query-key pair. Needs torch and transformers."""
import argparse
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--length", type=int, default=512)
parser.add_argument("--attention", default="sdpa", choices=["sdpa", "eager"])
parser.add_argument("--precision", default="fp32", choices=["fp32", "autocast", "pure"])
parser.add_argument("--steps", type=int, default=3, help="the best counts")
options = parser.parse_args()

import torch  # noqa: E402  --help needs none of these
from transformers import Cohere2Config, Cohere2ForCausalLM  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(1)

LAYERS, WIDTH, HIDDEN, HEADS, KEY_HEADS, VOCABULARY, WINDOW = 12, 768, 2048, 12, 4, 32768, 512
S = options.length
config = Cohere2Config(
    vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
    num_key_value_heads=KEY_HEADS, sliding_window=WINDOW, rope_theta=50000.0, max_position_embeddings=S, logit_scale=0.25,
    attn_implementation=options.attention, use_cache=False,
    layer_types=["full_attention" if i % 4 == 3 else "sliding_attention" for i in range(LAYERS)])
model = Cohere2ForCausalLM(config).train()
if options.precision == "pure":
    model = model.to(torch.bfloat16)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
tokens = torch.randint(0, VOCABULARY, (1, S))

best = float("inf")
for _ in range(options.steps):
    began = time.process_time()
    with torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "autocast"):
        loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    best = min(best, time.process_time() - began)
matrices = sum(w.numel() for w in model.parameters() if w.dim() == 2)  # counts the tied embedding once, as the output layer
pairs = sum(S * (S + 1) // 2 if kind == "full_attention" else sum(min(i + 1, WINDOW) for i in range(S)) for kind in config.layer_types)
flops = 6 * matrices * S + 12 * pairs * WIDTH
print(f"length={S} loss={loss.item():.4f} cpu_seconds={best:.3f} gflops_per_cpu_second={flops / best / 1e9:.2f}")
