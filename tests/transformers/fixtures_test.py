"""Import, export, scores and three training steps of the models in fixtures/, against what transformers computed from them
(make_fixtures.py). Needs no package. Prints the worst errors, whose limits are in checks.py.

    fixtures_test.py PROGRAM ROOT MPIRUN..."""
import json
import pathlib
import sys
import tempfile
import traceback

import checks
import runs
import tensor_files

PROGRAM, MPIRUN = sys.argv[1], sys.argv[3:]
FIXTURES = pathlib.Path(__file__).resolve().parent / "fixtures"
REFERENCE = ["--set", "parallel.device=REFERENCE"]
# A model has 1 to 4 KV heads: more tensor ranks hold copies of a KV head.
MESHES = {
    "cohere2_bf16_shards": [{"cp": 2}, {"cp": 2, "tp": 2}],
    "cohere2_old_keys": [{"tp": 2}, {"dp": 2, "cp": 2}],
    "cohere2_window_1": [{"dp": 2}, {"cp": 4}],
    "cohere2_odd_order": [{"cp": 2}, {"tp": 4}],
    "cohere2_all_full": [{"cp": 2}],
    "cohere_qk_norm": [{"tp": 2}, {"dp": 2, "tp": 2}],
    "cohere": [{"cp": 2}, {"dp": 4}],
}


def same_files(source, exported):
    checks.require(tensor_files.read_model(exported) == tensor_files.read_model(source), "the export has other tensors than the source")
    for path in source.glob("*.json"):
        if path.name not in ("config.json", "model.safetensors.index.json"):
            checks.require((exported / path.name).read_bytes() == path.read_bytes(), f"{path.name} is another")


def same_settings(source, exported):
    """What the source's config.json says stands in that of the export, in old keys and in new ones."""
    ours, theirs = (json.loads((folder / "config.json").read_text()) for folder in (exported, source))
    of_both = {"rope_theta": ours["rope_parameters"]["rope_theta"], "torch_dtype": ours["dtype"], **ours}
    changed = [(key, value, of_both.get(key)) for key, value in theirs.items() if value is not None and of_both.get(key) != value]
    checks.require(not changed, f"config.json: {changed}")


class Fixture:
    def __init__(self, name, folder):
        self.source = FIXTURES / name / "model"
        self.expected = json.loads((FIXTURES / name / "expected.json").read_text())
        self.packed = json.loads((FIXTURES / name / "packed.json").read_text())
        self.all_gradients = FIXTURES / name / "gradients.safetensors"
        self.ropewalk = runs.Ropewalk(PROGRAM, MPIRUN, folder)
        self.worst = {}

    def run(self, meshes):
        imported = self.ropewalk.import_model(self.source, "imported")
        exported = self.ropewalk.export_model(imported, "exported")
        same_files(self.source, exported)
        same_settings(self.source, exported)
        again = self.ropewalk.import_model(exported, "again")
        same_files(self.source, self.ropewalk.export_model(again, "exported-again"))
        for mesh in ({}, *meshes):
            self.score(imported, mesh)
            self.train(imported, mesh)
            self.train_on_packed(imported, mesh)
        return self.worst

    def note(self, kind, error, limit, where):
        checks.require(error <= limit, f"{kind}: {error:.2e} on {where}")
        self.worst[kind] = max(error, self.worst.get(kind, 0))

    def score(self, imported, mesh):
        requests, where = self.expected["requests"], runs.mesh_text(mesh)
        tokenizer = ["--tokenizer", "bytes"] if any("context" in request for request in requests) else []
        for device, kind, name, limit in (([], "shipped", "fp32", checks.SHIPPED), (REFERENCE, "exact", "fp64", checks.EXACT)):
            answers = self.ropewalk.scores(imported, requests, mesh, *tokenizer, *device)
            self.note(f"score {name}", checks.worst_score(answers, self.expected[kind]["answers"]), limit, where)

    def train(self, imported, mesh):
        gradients = self.compare_steps("", lambda device: self.ropewalk.train(imported, self.expected["ids"], mesh, device), self.expected, mesh)
        if self.all_gradients.exists():
            every = {tensor: tensor_files.numbers_of(dtype, data)
                     for tensor, (dtype, _, data) in tensor_files.read_safetensors(self.all_gradients).items()}
            error, tensor = checks.worst_gradient(gradients, every)
            self.note("every gradient fp64", error, checks.EXACT, f"{runs.mesh_text(mesh)}: {tensor}")

    def train_on_packed(self, imported, mesh):
        self.compare_steps("masked ", lambda device: self.ropewalk.train_on_packed(imported, self.packed, mesh, device), self.packed, mesh)

    def compare_steps(self, what, train_on, expected, mesh):
        """Returns the gradients in fp64. fp32 is compared on one rank alone."""
        devices = [("CPU", "shipped", "fp32", checks.SHIPPED, checks.GRADIENT)] if not mesh else []
        for device, kind, name, limit, of_gradient in [*devices, ("REFERENCE", "exact", "fp64", checks.EXACT, checks.EXACT)]:
            losses, gradients, _ = train_on(device)
            self.note(f"{what}loss {name}", checks.worst_loss(losses, expected[kind]["losses"]), limit, f"{runs.mesh_text(mesh)}: {losses}")
            error, tensor = checks.worst_digest(gradients, expected[kind]["gradients"])
            self.note(f"{what}gradient {name}", error, of_gradient, f"{runs.mesh_text(mesh)}: {tensor}")
        return gradients


def main():
    checks.require(MESHES.keys() == {path.name for path in FIXTURES.iterdir()}, "MESHES and fixtures/ have different names")
    failed = 0
    for name, meshes in MESHES.items():
        with tempfile.TemporaryDirectory() as folder:
            try:
                worst = Fixture(name, folder).run(meshes)
                print(f"ok      {name}: " + ", ".join(f"{kind} {error:.1e}" for kind, error in worst.items()), flush=True)
            except Exception as error:  # print any failure, and go on
                failed += 1
                told = error if isinstance(error, (checks.Disagreement, runs.Failed)) else traceback.format_exc()
                print(f"FAILED  {name}: {told}", flush=True)
    print(f"{len(MESHES) - failed} of {len(MESHES)} passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
