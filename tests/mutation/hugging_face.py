"""Mutated inputs of `ropewalk import` and `ropewalk export`: the classes of inputs.py for a Hugging Face model and for a checkpoint."""
import pathlib
import shutil
import sys

from inputs import Input
from mutations import mutated

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS / "transformers"))
from tensor_files import read_model  # noqa: E402

SOURCES = ["cohere2_bf16_shards", "cohere2_window_1", "cohere_qk_norm"]


def make_baseline(folder, run):
    """Writes Hugging Face models, and an imported one."""
    for name in SOURCES:
        shutil.copytree(TESTS / "transformers/fixtures" / name / "model", folder / name)
    run("import", SOURCES[0], "--output", "imported")


class HuggingFaceModel(Input):
    """The import is refused and leaves nothing; or the export has the tensors of the mutated model."""
    def make(self, draw):
        self.source = draw.choice([SOURCES[0], SOURCES[0], *SOURCES[1:]])
        names = sorted(path.name for path in (self.folder / self.source).iterdir())
        name = draw.choice(["config.json", "config.json", *(name for name in names if "token" not in name)])
        if draw.random() < 0.1:
            self.move(draw, name, draw.choice(names))
        elif name.endswith(".safetensors") and draw.random() < 0.7:
            self.change_header(draw, name)
        else:
            others = [f"{other}/{name}" for other in SOURCES if (self.folder / other / name).exists()]
            self.write(draw, f"{self.source}/{name}", *others)
        self.before = self.entries()
        self.commands = [["import", self.source, "--output", "new"], ["export", "new", "--output", "back"]]

    def move(self, draw, name, other):
        source = self.folder / self.source
        if draw.random() < 0.5:
            (source / name).unlink()
        else:
            (source / name).replace(source / other)

    def change_header(self, draw, name):
        """The data of a model are most of its bytes, and any of them are valid."""
        path = self.folder / self.source / name
        content = path.read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = mutated(draw, content[8:end], content[8:end])
        length = len(header) if draw.random() < 0.8 else draw.choice([0, 7, end, 2**32, 2**63 - 1, 2**64 - 1])
        path.write_bytes(length.to_bytes(8, "little") + header + content[end:])

    def entries(self):
        return sorted(path.name for path in self.folder.iterdir())

    def problem(self, codes):
        if len(codes) == 1:  # the import failed
            left = set(self.entries()) - set(self.before)
            return f"the import left {sorted(left)}" if left else None
        if codes[1] != 0:
            return "an imported model cannot be exported"
        same = read_model(self.folder / "back") == {
            name: tensor for name, tensor in read_model(self.folder / self.source).items() if name != "lm_head.weight"}
        return None if same else "the export has other tensors than the model"


class ImportedCheckpoint(Input):
    """The export is refused and leaves nothing; or it has the tensors of the model that was imported."""
    def make(self, draw):
        names = sorted(path.relative_to(self.folder) for path in (self.folder / "imported").rglob("*") if path.is_file())
        name = draw.choice([*names, "imported/model.safetensors", "imported/model.safetensors"])
        self.write(draw, name)
        self.commands = [["export", "imported", "--output", "back", *draw.choice([[], ["--max-shard-size", "5KB"]])]]

    def problem(self, codes):
        back = self.folder / "back"
        if codes[0] != 0:
            left = sorted(path.name for path in self.folder.iterdir() if path.name.startswith("back"))
            return f"the export left {left}" if left else None
        return None if read_model(back) == read_model(self.folder / SOURCES[0]) else "a damaged checkpoint was exported"


KINDS = [HuggingFaceModel, ImportedCheckpoint]
