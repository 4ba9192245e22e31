"""Compares ropewalk with transformers on one model. Needs torch and transformers."""
import random

import torch
import transformers

import checks
import models
import packed
import runs
import tensor_files
import truth

LENGTHS = [(1, 1), (7, 3), (3, 20), (120, 9), (61, 1), (200, 40)]  # context, continuation; a window has 1 or 5 tokens in half of the models
SEQUENCE = 45  # tokens of a training sequence: context-parallel ranks hold pieces of different lengths
REFERENCE = ["--set", "parallel.device=REFERENCE"]
DTYPES = {"fp32": "F32", "bf16": "BF16", "fp16": "F16"}
KINDS = ["score fp32", "score fp64", "loss fp32", "loss fp64", "gradient fp32", "gradient fp64", "masked loss fp32", "masked loss fp64",
         "masked gradient fp32", "masked gradient fp64"]


class Comparison:
    """Of one model, in an empty folder."""

    def __init__(self, options, seed, ropewalk):
        self.options, self.ropewalk, self.folder = options, ropewalk, ropewalk.folder
        self.worst = dict.fromkeys(KINDS, 0.0)
        self.source = self.folder / "source"
        models.write_model(self.source, options, seed)
        vocabulary = options["vocabulary"]
        self.requests = truth.make_requests(truth.load(self.source, torch.float64), vocabulary, seed, LENGTHS)
        # No padding token: transformers gives its row of the embedding no gradient as an input.
        self.ids = random.Random(seed).choices(range(1, vocabulary), k=SEQUENCE + 1)
        self.shipped, _ = truth.truth(self.source, self.requests, self.ids, exact=False)
        self.exact, self.trained = truth.truth(self.source, self.requests, self.ids, exact=True)
        self.packed = packed.draw(vocabulary, seed)
        self.packed_shipped, self.packed_exact = (truth.truth_of_packed(self.source, self.packed, exact) for exact in (False, True))

    def run(self):
        self.imported = self.ropewalk.import_model(self.source, "imported")
        self.export_equals_source()
        self.export_of_another_type()
        for mesh in ({}, self.options["two"], self.options["four"]):
            self.score(mesh)
            self.train(mesh)
            self.train_on_packed(mesh)
        return self.worst

    def note(self, kind, error, limit, where):
        checks.require(error <= limit, f"{kind}: {error:.2e} on {where}")  # also if it is NaN
        self.worst[kind] = max(self.worst[kind], error)

    def export_equals_source(self):
        exported = self.ropewalk.export_model(self.imported, "exported")
        checks.require(tensor_files.read_model(exported) == tensor_files.read_model(self.source), "the export has other tensors than the source")
        for name in [*models.TOKENIZER_FILES, "generation_config.json"]:
            checks.require((exported / name).read_bytes() == (self.source / name).read_bytes(), f"{name} is another")
        ours, theirs = (transformers.AutoConfig.from_pretrained(folder).to_dict() for folder in (exported, self.source))
        changed = [key for key in theirs if ours.get(key) != theirs[key] and key != "_name_or_path"]
        checks.require(not changed, f"config.json: {[(key, theirs[key], ours.get(key)) for key in changed]}")
        ours, theirs = (truth.load(folder, "auto") for folder in (exported, self.source))
        with torch.no_grad():
            same = torch.equal(truth.logits_of(ours, self.ids), truth.logits_of(theirs, self.ids))
        checks.require(same and ours.dtype == theirs.dtype, "transformers computes other logits from the export")

    def export_of_another_type(self):
        dtype = self.options["exported"]
        exported = self.ropewalk.export_model(self.imported, f"exported-{dtype}", "--dtype", dtype)
        ours = truth.load(exported, "auto")
        theirs = truth.load(self.source, "auto").to(models.DTYPES[dtype])
        stored = {kind for kind, _, _ in tensor_files.read_model(exported).values()}
        checks.require(stored == {DTYPES[dtype]} and ours.dtype == theirs.dtype, f"the export in {dtype} has {stored}")
        others = [name for name, weight in ours.named_parameters() if not torch.equal(weight, theirs.get_parameter(name))]
        checks.require(not others, f"{others} are rounded in another way to {dtype}")

    def score(self, mesh):
        where = runs.mesh_text(mesh)
        answers = self.ropewalk.scores(self.imported, self.requests, mesh)
        self.note("score fp32", checks.worst_score(answers, self.shipped["answers"]), checks.SHIPPED, where)
        answers = self.ropewalk.scores(self.imported, self.requests, mesh, *REFERENCE)
        self.note("score fp64", checks.worst_score(answers, self.exact["answers"]), checks.EXACT, where)

    def train(self, mesh):
        self.compare_steps("", lambda device: self.ropewalk.train(self.imported, self.ids, mesh, device), self.shipped, self.exact, mesh)
        directory = f"run-{self.ropewalk.runs}"  # of the last run, in fp64
        self.export_of_a_run(self.ropewalk.step(directory, runs.STEPS), f"trained-{directory}")

    def train_on_packed(self, mesh):
        self.compare_steps("masked ", lambda device: self.ropewalk.train_on_packed(self.imported, self.packed, mesh, device),
                           self.packed_shipped, self.packed_exact, mesh)

    def compare_steps(self, kind, train_on, shipped, exact, mesh):
        for device, name, expected, limit, of_gradient in (("CPU", "fp32", shipped, checks.SHIPPED, checks.GRADIENT),
                                                           ("REFERENCE", "fp64", exact, checks.EXACT, checks.EXACT)):
            losses, gradients, _ = train_on(device)
            where = f"{runs.mesh_text(mesh)}: {losses}, expected {expected['losses']}"
            self.note(f"{kind}loss {name}", checks.worst_loss(losses, expected["losses"]), limit, where)
            error, tensor = checks.worst_gradient(gradients, expected["gradients"])
            self.note(f"{kind}gradient {name}", error, of_gradient, f"{runs.mesh_text(mesh)}: {tensor}")

    def export_of_a_run(self, checkpoint, name):
        """transformers loads what we trained in fp64, and it is what transformers trained."""
        ours = truth.load(self.ropewalk.export_model(checkpoint, name, "--dtype", "fp32"), "auto")
        for tensor, weight in self.trained.named_parameters():
            # Both round the same number to fp32, or two numbers that differ by 1e-10.
            wrong = (ours.get_parameter(tensor) - weight).abs() > 2**-24 * weight.abs() + 1e-9
            checks.require(not wrong.any(), f"{tensor} after {runs.STEPS} steps")
