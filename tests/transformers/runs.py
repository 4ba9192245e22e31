"""Runs ropewalk on a Hugging Face model: import, export, scores, three training steps. Needs no package."""
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys

import tensor_files

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
import crc32c

BETA1 = 0.9  # of AdamW: the first moment after one step is (1 - BETA1) times the gradient
LEARNING_RATE, WEIGHT_DECAY, STEPS = 3e-3, 0.1, 3
# The first step of AdamW moves a weight by rate * g / (|g| + epsilon). With the usual 1e-8, the rounding error of fp32, some 1e-7 here, would
# decide in which direction a weight with a gradient near 0 moves: transformers' own fp32 parts then changed a loss by 3e-4.
EPSILON = 1e-5

# The shape of the model is that of the checkpoint. A step is an epoch, so every step has the same loss function.
TRAINING = """
data {{ prefix: "{prefix}" sequence_length: {length} validation_fraction: 0 tokenizer: "none" }}
training {{
  start_from: "{checkpoint}" steps: {steps} batch: {batch} schedule: CONSTANT learning_rate: {rate} epsilon: {epsilon}
  weight_decay: {decay} clip_norm: 0
}}
validation {{ interval: 0 sample_tokens: 0 }}
checkpoint {{ interval: 1 keep: 0 }}
parallel {{ device: {device} data_parallel: {data_parallel} context_parallel: {context_parallel} tensor_parallel: {tensor_parallel} }}
output {{ directory: "{directory}" }}
"""


class Failed(Exception):
    """A command of ropewalk that ended with an error."""


def mesh_text(mesh):
    return ",".join(f"{axis}={size}" for axis, size in mesh.items()) or "dp=1"


def ranks_of(mesh):
    ranks = 1
    for size in mesh.values():
        ranks *= size
    return ranks


def write_documents(prefix, documents):
    """A dataset in Megatron's indexed format: documents of these ids, in u16."""
    ids, lengths = list(itertools.chain(*documents)), [len(document) for document in documents]
    count = len(documents)
    pathlib.Path(f"{prefix}.bin").write_bytes(struct.pack(f"<{len(ids)}H", *ids))
    pathlib.Path(f"{prefix}.idx").write_bytes(
        b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, count, count + 1) + struct.pack(f"<{count}i", *lengths) +
        struct.pack(f"<{count}q", *(2 * sum(lengths[:document]) for document in range(count))) + struct.pack(f"<{count + 1}q", *range(count + 1)))


def write_targets(prefix, targets):
    """The mask of a dataset's targets (trainer/data/targets.h): a flag for each token."""
    checked = bytearray(struct.pack("<Q", len(targets)) + bytes((len(targets) + 7) // 8))
    for token, is_target in enumerate(targets):
        checked[8 + token // 8] |= is_target << token % 8
    pathlib.Path(f"{prefix}.targets").write_bytes(b"RWTARGET" + struct.pack("<II", 1, crc32c.crc32c(bytes(checked))) + checked)


class Ropewalk:
    """The program, with its files in `folder`. mpirun: the words that start it, without -n."""

    def __init__(self, program, mpirun, folder):
        self.program, self.mpirun, self.folder = str(pathlib.Path(program).resolve()), mpirun, pathlib.Path(folder)
        self.runs = 0

    def run(self, *words, ranks=1):
        launcher = [*self.mpirun, "--quiet", "-n", str(ranks)] if ranks > 1 else []
        environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
        done = subprocess.run([*launcher, self.program, *map(str, words)], cwd=self.folder, env=environment, capture_output=True, text=True,
                              timeout=300, check=False)
        if done.returncode != 0:
            raise Failed(f"ropewalk {' '.join(map(str, words))} on {ranks} ranks ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def import_model(self, source, name):
        self.run("import", source, "--output", name)
        return self.folder / name

    def export_model(self, checkpoint, name, *words):
        self.run("export", checkpoint, "--output", name, *words)
        return self.folder / name

    def scores(self, checkpoint, requests, mesh, *words):
        """The answers, one for each request."""
        self.runs += 1
        asked, told = self.folder / "requests.jsonl", self.folder / f"answers-{self.runs}.jsonl"
        asked.write_text("".join(json.dumps(request) + "\n" for request in requests))
        self.run("evaluate", "--checkpoint", checkpoint, "--requests", asked, "--output", told, "--mesh", mesh_text(mesh), *words,
                 ranks=ranks_of(mesh))
        return [json.loads(line) for line in told.read_text().splitlines()]

    def train(self, checkpoint, ids, mesh, device):
        """Trains on one sequence. Returns (the loss of each step; name -> gradient of the first step; the run's directory)."""
        directory = self.new_run()
        write_documents(self.folder / directory, [ids])
        return self.train_on(directory, len(ids) - 1, mesh.get("dp", 1), checkpoint, mesh, device)

    def train_on_packed(self, checkpoint, packed, mesh, device):
        """The same on a batch of packed documents with masked targets (packed.py)."""
        directory = self.new_run()
        write_documents(self.folder / directory, packed["documents"])
        write_targets(self.folder / directory, list(itertools.chain(*packed["targets"])))
        return self.train_on(directory, packed["length"], len(packed["sequences"]), checkpoint, mesh, device)

    def new_run(self):
        self.runs += 1
        return f"run-{self.runs}"

    def train_on(self, directory, length, batch, checkpoint, mesh, device):
        (self.folder / f"{directory}.textproto").write_text(TRAINING.format(
            prefix=directory, length=length, batch=batch, checkpoint=checkpoint, steps=STEPS, rate=LEARNING_RATE, decay=WEIGHT_DECAY,
            epsilon=EPSILON, device=device, directory=directory, data_parallel=mesh.get("dp", 1), context_parallel=mesh.get("cp", 1),
            tensor_parallel=mesh.get("tp", 1)))
        self.run("train", f"{directory}.textproto", "--plain", ranks=ranks_of(mesh))
        lines = (self.folder / directory / "metrics.jsonl").read_text().splitlines()
        saved = tensor_files.read_checkpoint(self.step(directory, 1))
        moments = {name.removeprefix("optimizer.m."): moment for name, moment in saved.items() if name.startswith("optimizer.m.")}
        gradients = {name: [value / (1 - BETA1) for value in values] for name, (_, values) in moments.items()}
        return [json.loads(line)["loss"] for line in lines], gradients, directory

    def step(self, directory, step):
        return self.folder / directory / f"checkpoints/step-{step:08d}"
