"""What transformers computes in fp64: log-probabilities, losses of AdamW steps, gradients. Needs torch and transformers."""
import contextlib
import random
from unittest import mock

import torch
from transformers import AutoModelForCausalLM
from transformers.models.cohere import modeling_cohere
from transformers.models.cohere2 import modeling_cohere2

import packed
import runs


def exact_norm(self, x):
    centred = x - x.mean(-1, keepdim=True)
    return self.weight * (centred * torch.rsqrt(centred.pow(2).mean(-1, keepdim=True) + self.variance_epsilon))


def exact_angles(self, x, position_ids):
    parameters = self.config.rope_parameters
    assert parameters["rope_type"] == "default" and x.dtype == torch.float64
    size = getattr(self.config, "head_dim", None) or self.config.hidden_size // self.config.num_attention_heads
    frequencies = parameters["rope_theta"] ** (-torch.arange(0, size, 2, dtype=torch.float64) / size)
    angles = torch.repeat_interleave(position_ids[..., None].double() * frequencies, 2, dim=-1)
    return angles.cos(), angles.sin()


def exact_rotation(q, k, cos, sin, unsqueeze_dim=1):
    cos, sin = cos.unsqueeze(unsqueeze_dim), sin.unsqueeze(unsqueeze_dim)
    return tuple(x * cos + modeling_cohere2.rotate_half(x) * sin for x in (q, k))


@contextlib.contextmanager
def exact_arithmetic():
    """Norms and rotations in fp64, which transformers computes in fp32 in a model of any type."""
    with contextlib.ExitStack() as patches:
        for module, name in ((modeling_cohere, "Cohere"), (modeling_cohere2, "Cohere2")):
            patches.enter_context(mock.patch.object(getattr(module, f"{name}LayerNorm"), "forward", exact_norm))
            patches.enter_context(mock.patch.object(getattr(module, f"{name}RotaryEmbedding"), "forward", exact_angles))
            patches.enter_context(mock.patch.object(module, "apply_rotary_pos_emb", exact_rotation))
        yield


def load(folder, dtype):
    """The model; an error if a tensor is missing, unexpected or of another shape."""
    model, told = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, output_loading_info=True)
    wrong = {what: names for what, names in told.items() if names}
    assert not wrong, f"{folder}: {wrong}"
    return model.eval()


def logits_of(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].double()


def answer(model, request):
    ids = request["context_ids"] + request["continuation_ids"]
    with torch.no_grad():
        logits = logits_of(model, ids)[len(request["context_ids"]) - 1:-1]
    targets = torch.tensor(request["continuation_ids"])[:, None]
    logprobs = torch.log_softmax(logits, -1).gather(1, targets)[:, 0]
    target = logits.gather(1, targets)[:, 0]
    others = logits.scatter(1, targets, float("-inf")).max(1).values
    lead = (target - others).min().item()  # negative if any token is not the likeliest
    return {"token_logprobs": logprobs.tolist(), "is_greedy": lead > 0, "greedy_gap": abs(lead)}


def greedy_continuation(model, context, count):
    ids = list(context)
    for _ in range(count):
        with torch.no_grad():
            ids.append(logits_of(model, ids)[-1].argmax().item())
    return ids[len(context):]


def make_requests(model, vocabulary, seed, lengths):
    """Random requests of (context, continuation) lengths; one that is greedy, and one that is greedy but for its last token."""
    draw = random.Random(seed)
    requests = [{"context_ids": draw.choices(range(vocabulary), k=context), "continuation_ids": draw.choices(range(vocabulary), k=continuation)}
                for context, continuation in lengths]
    context = draw.choices(range(vocabulary), k=23)
    greedy = greedy_continuation(model, context, 5)
    missed = [*greedy[:-1], (greedy[-1] + 1) % vocabulary]
    return [*requests, {"context_ids": context, "continuation_ids": greedy}, {"context_ids": context, "continuation_ids": missed}]


def loss_of_sequence(model, ids):
    return torch.nn.functional.cross_entropy(logits_of(model, ids[:-1]), torch.tensor(ids[1:]))


def loss_of_packed(model, batch):
    """The mean over the targets of the batch (packed.py). From positions that begin anew, transformers makes the mask of the documents."""
    tokens, labels, positions = (torch.tensor(batch[key]) for key in ("tokens", "labels", "positions"))
    logits = model(tokens, position_ids=positions, use_cache=False).logits.double()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)


def train(model, loss_of):
    """Losses of the AdamW steps, and the gradients of the first: name -> list of numbers. Changes the model."""
    parameters = dict(model.named_parameters())
    norms = [weight for name, weight in parameters.items() if "norm" in name]
    matrices = [weight for name, weight in parameters.items() if "norm" not in name]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": runs.WEIGHT_DECAY}, {"params": norms, "weight_decay": 0}],
                                  lr=runs.LEARNING_RATE, betas=(runs.BETA1, 0.95), eps=runs.EPSILON)
    losses, gradients = [], None
    for _ in range(runs.STEPS):
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        losses.append(loss.item())
        if gradients is None:
            gradients = {name: weight.grad.flatten().tolist() for name, weight in parameters.items()}
        optimizer.step()
    return losses, gradients


def truth(folder, requests, ids, exact):
    """The expected values of checks.py, of one kind, and the model after its three steps."""
    with exact_arithmetic() if exact else contextlib.nullcontext():
        model = load(folder, torch.float64)
        answers = [answer(model, request) for request in requests]
        losses, gradients = train(model, lambda model: loss_of_sequence(model, ids))
    return {"answers": answers, "losses": losses, "gradients": gradients}, model


def truth_of_packed(folder, packed_batch, exact):
    """The same of a packed batch, without answers."""
    batch = packed.rows_of(packed_batch)
    with exact_arithmetic() if exact else contextlib.nullcontext():
        losses, gradients = train(load(folder, torch.float64), lambda model: loss_of_packed(model, batch))
    return {"losses": losses, "gradients": gradients}
