"""What must agree with transformers, and how well. Needs no package.

The expected values are transformers' in fp64, of two kinds. "shipped": the model as it is, which computes norms and rotations in fp32 even
in fp64. "exact": the same with these two in fp64 as well. Each is a dictionary:
    answers     for each request: token_logprobs, is_greedy, and greedy_gap: how far the logits are from the other answer to is_greedy
    losses      of three AdamW steps on one sequence
    gradients   of the first step: name -> numbers"""
import math

SHIPPED = 1e-4  # of a log-probability or a loss in nats: what fp32 must reach, against either kind
# Of the reference device, which computes in fp64, against "exact". A logit has some 50 operations in sequence, with sums of at most 300
# terms, so its rounding error is about sqrt(50 * 300) * 2^-53 = 1e-14 of values up to 100; three optimizer steps multiply it by a hundred
# where a second moment is small.
EXACT = 1e-10
# Relative error of one tensor's gradient in fp32: sqrt(50 * 300) * 2^-24 = 7e-6, and forward and backward both have it. The largest logits
# are about 20, so cancellation in the softmax may cost another factor of ten.
GRADIENT = 2e-4


class Disagreement(Exception):
    """A value that is not the expected one."""


def require(condition, message):
    if not condition:
        raise Disagreement(message)


def size_of(error):
    """For comparisons of errors: NaN is the largest."""
    return math.inf if math.isnan(error) else error


def worst_score(answers, expected):
    """The largest difference of a token's log-probability. Checks the sums and the greedy flags."""
    require(len(answers) == len(expected), f"{len(answers)} answers to {len(expected)} requests")
    worst = 0
    for number, (ours, theirs) in enumerate(zip(answers, expected)):
        got, want = ours["token_logprobs"], theirs["token_logprobs"]
        require(len(got) == len(want), f"request {number}: {len(got)} log-probabilities for {len(want)} tokens")
        worst = max(worst, *(size_of(abs(a - b)) for a, b in zip(got, want)))
        require(abs(ours["logprob"] - math.fsum(got)) <= 1e-12 * (1 + abs(ours["logprob"])),
                f"request {number}: the sum {ours['logprob']} of {got}")
        require(ours["is_greedy"] == theirs["is_greedy"] or theirs["greedy_gap"] < SHIPPED,
                f"request {number}: is_greedy {ours['is_greedy']}; the logits differ by {theirs['greedy_gap']}")
    return worst


def worst_loss(losses, expected):
    require(len(losses) == len(expected), f"{len(losses)} losses instead of {len(expected)}")
    return max(size_of(abs(a - b)) for a, b in zip(losses, expected))


def norm(values):
    return math.sqrt(math.fsum(value * value for value in values))


def worst_gradient(gradients, expected):
    """(largest error of a tensor's gradient, its name). The error is relative to the tensor's norm. If that is 0 (as of the queries and keys
    of a window of 1, whose softmax is constant), it is relative to the norm of the whole gradient."""
    require(gradients.keys() == expected.keys(), f"gradients of {sorted(gradients.keys() ^ expected.keys())} in one of the two only")
    whole = norm(norm(values) for values in expected.values())
    errors = []
    for name, want in expected.items():
        got, size = gradients[name], norm(want)
        require(len(got) == len(want), f"{name} has {len(got)} numbers instead of {len(want)}")
        error = norm(a - b for a, b in zip(got, want))
        errors.append((size_of(error / (size if size > 1e-12 * whole else whole)), name))
    return max(errors)


def digest(values):
    """[norm, a projection]: two numbers that change with almost any change of the values."""
    return [norm(values), math.fsum(value * math.cos(index) for index, value in enumerate(values)) / math.sqrt(len(values))]


def worst_digest(gradients, expected):
    """As worst_gradient, from name -> digest."""
    require(gradients.keys() == expected.keys(), f"gradients of {sorted(gradients.keys() ^ expected.keys())} in one of the two only")
    whole = norm(size for size, _ in expected.values())
    errors = []
    for name, want in expected.items():
        error = max(size_of(abs(a - b)) for a, b in zip(digest(gradients[name]), want))
        errors.append((error / (want[0] if want[0] > 1e-12 * whole else whole), name))
    return max(errors)
