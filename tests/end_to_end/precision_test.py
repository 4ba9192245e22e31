"""Runs in mixed precision (training.precision BF16): the same bits twice and across a stop, on several ranks; the losses of FP32 up to bf16
rounding; checkpoints that go from one precision to the other and from mesh to mesh; weights that leave and enter."""
import json
import shutil
import signal
import struct
import unittest

from harness import CONFIG, RopewalkTest

MESHES = {1: [], 2: ["parallel.context_parallel=2"], 4: ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]}
BF16 = ["training.precision=BF16"]
# Tolerance relative to losses of a few nats. Each step rounds logits and weights to bf16 (a relative error of 2^-9). These errors enter the
# weights, so runs diverge slightly: after the FIRST steps only the mean of the differences is small.
NEAR, FIRST = 2**-7, 4


def types_in(tensors):
    """The element types of the files of a checkpoint."""
    types = set()
    for content in tensors.values():
        entries = json.loads(content[8:8 + struct.unpack("<Q", content[:8])[0]])
        types |= {entry["dtype"] for name, entry in entries.items() if name != "__metadata__"}
    return types


class PrecisionTest(RopewalkTest):
    def setUp(self):
        super().setUp()
        (self.directory / "config.textproto").write_text(CONFIG.replace(" qk_norm: LAYER_NORM", ""))  # a model that can be exported

    def verb(self, *words):
        return self.check(self.start(0, list(words)))

    def losses(self, run):
        return [line["loss"] for line in self.numbers(run)]

    def assert_near(self, ours, theirs):
        distances = [abs(a - b) for a, b in zip(ours, theirs)]
        self.assertEqual(len(ours), len(theirs))
        for distance, loss in zip(distances[:FIRST], theirs):
            self.assertLessEqual(distance, NEAR * loss)
        self.assertLessEqual(sum(distances), NEAR * sum(theirs))

    def evaluated(self, *words):
        """The loss of the newest checkpoint of the run in `run`, and what was told."""
        got, output = self.finish(self.start(0, ["evaluate", "config.textproto", "--json", *words]))
        self.assertEqual(got, 0, output)
        return json.loads(output[output.index("{"):])["loss"], output

    def test_bits_and_losses(self):
        self.check(self.train(1, "output.directory=single"))
        for ranks, mesh in MESHES.items():
            for run in ("first", "second"):
                output = self.check(self.train(ranks, *mesh, *BF16, f"output.directory={run}{ranks}"))
                self.assertRegex(output, r"; device: cpu, bf16 (on AMX|on AVX512-BF16|in fp32 vectors \(.+\))[;,] ")
            self.assertEqual(self.numbers(f"first{ranks}"), self.numbers(f"second{ranks}"))
            self.assertEqual(self.tensors(12, f"first{ranks}"), self.tensors(12, f"second{ranks}"))
            self.assert_near(self.losses(f"first{ranks}"), self.losses("single"))
            self.assertNotEqual(self.losses(f"first{ranks}"), self.losses("single"), "is this bf16?")
        self.assertLess(self.losses("first1")[-1], self.losses("first1")[0] - 1)  # it learns

    def test_stopped_and_resumed_is_uninterrupted(self):
        for ranks in (2, 4):
            whole, parts = f"whole{ranks}", f"parts{ranks}"
            self.check(self.train(ranks, *MESHES[ranks], *BF16, f"output.directory={whole}"))
            job = self.train(ranks, *MESHES[ranks], *BF16, f"output.directory={parts}")
            self.wait_for_step(2, job, parts)
            job.send_signal(signal.SIGUSR1)
            code, output = self.finish(job)
            self.assertIn(code, (85, 0), output)
            if code == 85:
                output = self.check(self.train(ranks, *MESHES[ranks], *BF16, f"output.directory={parts}"))
                self.assertNotIn("changed since", output)
            self.assertEqual(self.numbers(whole), self.numbers(parts))
            self.assertEqual(self.tensors(12, whole), self.tensors(12, parts))

    def test_a_run_goes_on_in_the_other_precision(self):
        """On another mesh too. With learning rate 0 the master weights keep their bits."""
        self.check(self.train(2, *MESHES[2], "output.directory=FP32"))
        self.check(self.train(2, *MESHES[2], *BF16, "output.directory=BF16"))
        for first, then in (("FP32", "BF16"), ("BF16", "FP32"), ("BF16", "BF16")):
            shutil.copytree(self.checkpoint(8, first), self.checkpoint(8, f"{first}-{then}"))
            output = self.check(self.train(4, *MESHES[4], f"training.precision={then}", f"output.directory={first}-{then}"))
            told = f"changed since the checkpoint: training.precision: {first} -> {then}\n"
            self.assertEqual(output.count(told), first != then, output)
            self.assert_near(self.losses(f"{first}-{then}"), self.losses("FP32")[8:])
            self.assertEqual(types_in(self.tensors(12, f"{first}-{then}")), {"F32"})
            still = f"{first}-{then}-still"
            shutil.copytree(self.checkpoint(8, first), self.checkpoint(8, still))
            self.check(self.train(1, f"training.precision={then}", f"output.directory={still}", "training.learning_rate=0"))
            for run, step, folder in ((first, 8, "before"), (still, 12, "after")):
                self.verb("export", str(self.checkpoint(step, run)), "--output", f"{first}-{then}-{folder}")
            weights = [(self.directory / f"{first}-{then}-{folder}/model.safetensors").read_bytes() for folder in ("before", "after")]
            self.assertEqual(*weights)

    def test_the_resolved_configuration_keeps_it(self):
        self.check(self.train(1, *BF16, "training.steps=4"))
        resolved = (self.directory / "run/config.textproto").read_text()
        self.assertEqual(resolved.count("precision: BF16\n"), 1, resolved)
        output = self.check(self.start(0, ["train", "run/config.textproto", "--set", "training.steps=5"]))
        self.assertIn("; device: cpu, bf16 ", output)
        self.assertNotIn("training.precision", output)

    def test_weights_enter_and_leave(self):
        """A run in bf16 that starts from an imported model, exported again: with learning rate 0 the same weights."""
        self.check(self.train(1, "training.steps=4", "output.directory=base"))
        self.verb("export", str(self.checkpoint(4, "base")), "--output", "model")
        self.verb("import", "model", "--output", "imported")
        for precision in ("FP32", "BF16"):
            self.check(self.train(2, *MESHES[2], f"training.precision={precision}", "training.start_from=imported",
                                  "training.learning_rate=0", "training.steps=3", f"output.directory={precision}"))
            self.verb("export", str(self.checkpoint(3, precision)), "--output", f"model-{precision}")
            self.assertEqual((self.directory / f"model-{precision}/model.safetensors").read_bytes(),
                             (self.directory / "model/model.safetensors").read_bytes())

    def test_evaluate_in_either_precision(self):
        """The validation loss of the run in its own precision, in the same bits; in the other one another loss, nearby, and the change is told."""
        for precision, other in (("FP32", "BF16"), ("BF16", "FP32")):
            run = ["--set", f"output.directory={precision}"]
            self.check(self.train(1, f"training.precision={precision}", f"output.directory={precision}"))
            told = self.numbers(precision)[-1]["validation_loss"]
            for words in (["--set", f"training.precision={precision}"], ["--precision", precision.lower()]):
                loss, output = self.evaluated(*run, *words)
                self.assertEqual(loss, told)
                self.assertNotIn("changed since", output)
                self.assertIn(f"; device: cpu, {precision.lower()} ", output)
            loss, output = self.evaluated(*run, "--precision", other)
            self.assertNotEqual(loss, told)
            self.assertAlmostEqual(loss, told, delta=NEAR * told)
            self.assertIn(f"changed since the checkpoint: training.precision: {precision} -> {other}\n", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
