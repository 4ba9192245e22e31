"""PyTorch's scaled dot-product attention, forward and backward, on one thread: causal, with the window as an explicit mask,
as in the sliding-window layers of transformers' Cohere2. Prints GFLOP/s of CPU time, counting visible query-key pairs only: 4 K FLOPs
per pair and head forward, 10 K backward. Needs torch."""
import argparse
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--length", type=int, default=4096)
parser.add_argument("--head-size", type=int, default=128)
parser.add_argument("--heads", type=int, default=4)
parser.add_argument("--window", type=int, default=0, help="0: none")
parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
options = parser.parse_args()

import torch  # noqa: E402  --help needs neither
import torch.nn.functional as F  # noqa: E402

torch.set_num_threads(1)

S, K, H, W = options.length, options.head_size, options.heads, options.window
dtype = getattr(torch, options.dtype)
q, k, v = (torch.randn(1, H, S, K, dtype=dtype, requires_grad=True) for _ in range(3))
gradient = torch.randn(1, H, S, K, dtype=dtype)
mask, pairs = None, S * (S + 1) // 2
if W:
    i = torch.arange(S)
    mask = (i[:, None] >= i[None]) & (i[:, None] - i[None] < W)
    pairs = int(mask.sum())

best = [float("inf")] * 2
for _ in range(2):
    began = time.process_time()
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    between = time.process_time()
    out.backward(gradient)
    best = [min(best[0], between - began), min(best[1], time.process_time() - between)]
flops = pairs * H * K / 1e9
print(f"length={S} head_size={K} window={W} forward_gflops={4 * flops / best[0]:.2f} backward_gflops={10 * flops / best[1]:.2f}")
