"""Runs that start from a checkpoint (training.start_from), with a configuration that has no model: on any mesh, twice with the same bits,
stopped and resumed without the checkpoint, with changes told, and refused if the checkpoint does not fit."""
import re
import shutil
import signal
import unittest

from harness import CONFIG, RopewalkTest  # which adds the folder of crc32c.py to the path
from crc32c import crc32c, rewrite_manifest

MESHES = {1: [], 2: ["parallel.tensor_parallel=2"], 4: ["parallel.data_parallel=2", "parallel.context_parallel=2"]}
BASE_MESH = ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]
BASE = "base/checkpoints/step-00000008"
MODEL, REST = CONFIG[:CONFIG.index("data {")], CONFIG[CONFIG.index("data {"):]


class StartFromTest(RopewalkTest):
    def setUp(self):
        super().setUp()
        self.check(self.train(4, *BASE_MESH, "model.logit_scale=0.5", "output.directory=base"))
        (self.directory / "config.textproto").write_text(REST.replace("steps: 12", f'steps: 12 start_from: "{BASE}"'))

    def refused(self, process, code, *parts):
        got, output = self.finish(process)
        self.assertEqual(got, code, output)
        for part in parts:
            self.assertEqual(output.count(part), 1, f"{part}\n{output}")

    def verb(self, verb, *settings, options=()):
        sets = [word for setting in settings for word in ("--set", setting)]
        return self.start(0, [verb, "config.textproto", *options, *sets])

    def test_any_mesh(self):
        """On each mesh the same bits twice, and the losses of one rank."""
        for ranks, mesh in MESHES.items():
            for run in ("first", "second"):
                output = self.check(self.train(ranks, *mesh, f"output.directory={run}{ranks}"))
                self.assertIn(f"starting from the weights of {BASE} (step 8 of its run)\n", output)
                self.assertNotIn("in the checkpoint,", output)
            self.assertEqual(self.numbers(f"first{ranks}"), self.numbers(f"second{ranks}"))
            self.assertEqual(self.tensors(12, f"first{ranks}"), self.tensors(12, f"second{ranks}"))
        self.assertEqual([line["step"] for line in self.numbers("first1")], list(range(1, 13)))
        self.assertEqual(self.numbers("first1")[0]["tokens"], 240)
        for ranks in (2, 4):  # the bound of bits_test.py, which holds for 12 steps
            for one, many in zip(self.numbers("first1"), self.numbers(f"first{ranks}")):
                self.assertAlmostEqual(one["loss"], many["loss"], delta=7e-5 * one["loss"])
        resolved = (self.directory / "first1/config.textproto").read_text()
        for part in ("layers: 4", "logit_scale: 0.5", f'start_from: "{BASE}"'):
            self.assertIn(part, resolved)

    def test_the_model_is_that_of_the_checkpoint(self):
        """With learning rate 0 it stays so: the loss on the validation data is the base's after step 8, in the same bits on its mesh. Also if
        a stage of the base had changed theta."""
        still = ["training.learning_rate=0", "training.warmup_steps=0", "training.steps=4"]
        stage = ["training.stages.0.first_step=6", "training.stages.0.theta=30"]
        self.check(self.train(4, *BASE_MESH, *stage, "output.directory=staged"))
        for base, start in (("base", BASE), ("staged", "staged/checkpoints/step-00000008")):
            output = self.check(self.train(4, *BASE_MESH, *still, f"training.start_from={start}", f"output.directory=from_{base}"))
            self.assertNotIn("in the checkpoint,", output)
            theirs, ours = self.numbers(base)[7], self.numbers(f"from_{base}")[3]
            self.assertEqual(ours["validation_loss_by_position"], theirs["validation_loss_by_position"])
            self.assertEqual(ours["validation_loss"], theirs["validation_loss"])

    def test_resumed_without_the_checkpoint(self):
        """A run that was stopped and resumed has the bits of an uninterrupted one, though start_from is gone by then."""
        changed = ["model.pattern.0.theta=700", *MESHES[2], "training.start_from=gone"]
        shutil.copytree(self.directory / BASE, self.directory / "gone")
        self.check(self.train(2, *changed, "output.directory=whole"))
        job = self.train(2, *changed)
        self.wait_for_step(2, job)
        job.send_signal(signal.SIGUSR1)
        code, output = self.finish(job)
        self.assertIn(code, (85, 0), output)
        shutil.rmtree(self.directory / "gone")
        # The model, its changed theta included, comes from the run's checkpoint now.
        output = self.check(self.train(2, *MESHES[2], "training.start_from=moved"))
        self.assertIn("continuing after step " if code == 85 else "nothing left to do", output)
        self.assertNotIn("changed since", output)
        self.assertNotIn("warning", output)
        self.assertEqual(self.numbers("whole"), self.numbers())
        self.assertEqual(self.tensors(12, "whole"), self.tensors(12))
        for verb, options in (("validate", []), ("plan", ["--inference"]), ("evaluate", ["--json"]), ("evaluate", ["--step", "12"])):
            self.check(self.verb(verb, "training.start_from=gone", options=options))
        self.refused(self.train(2, *changed, options=["--resume-from", "3"]), 4, "has no checkpoint of step 3")
        # Step 0 needs it again.
        self.refused(self.train(2, *changed, options=["--resume-from", "0"]), 2, "training.start_from = gone: there is no checkpoint gone")
        self.assertTrue(self.checkpoint(12).exists(), "a refused start sets nothing aside")
        shutil.copytree(self.directory / BASE, self.directory / "gone")
        output = self.check(self.train(2, *changed, options=["--resume-from", "0"]))
        self.assertIn("starting from the weights of gone (step 8 of its run)", output)
        self.assertEqual(self.tensors(12, "whole"), self.tensors(12))

    def test_every_verb_completes_the_model(self):
        self.assertIn("4 layers, 1 rank", self.check(self.verb("validate")))
        whole, completed = self.directory / "whole.textproto", self.directory / "config.textproto"
        whole.write_text(MODEL.replace("vocabulary: 257", "vocabulary: 257 logit_scale: 0.5") + completed.read_text())
        for words in (["--json", "--mesh", "cp=2", "--device-memory", "1GiB"], ["--advice", "--device-memory", "1MiB"],
                      ["--json", "--inference", "--device-memory", "1GiB"]):
            told = [self.check(self.start(0, ["plan", file, *words])).replace(file, "") for file in ("whole.textproto", "config.textproto")]
            self.assertEqual(*told)
        self.assertIn("the configuration allows 3, of which 0", self.check(self.verb("plan", options=["--search", "2", "--device", "cpu"])))
        self.refused(self.verb("plan", "training.start_from=base/checkpoints"), 2, "base/checkpoints holds checkpoints")

    def test_changes_are_told(self):
        output = self.check(self.train(2, *MESHES[2], "model.pattern.0.theta=2e6", "model.pattern.1.mask=SLIDING",
                                       "model.pattern.1.window=7", "model.logit_scale=1", "training.stages.0.first_step=6",
                                       "training.stages.0.theta=9"))
        for line in ("model.logit_scale: 0.5 in the checkpoint, 1 here", "model.pattern.0.theta: 10000 in the checkpoint, 2000000 here",
                     "model.pattern.1.mask: FULL in the checkpoint, SLIDING here",
                     "model.pattern.1.window: nothing in the checkpoint, 7 here",
                     "after step 6: sequences of 60 tokens, 4 a step, theta 9"):
            self.assertEqual(output.count(line + "\n"), 1, line + output)

    def test_what_does_not_fit_is_refused(self):
        self.refused(self.train(2, *MESHES[2], "model.width=64", "model.layers=2", "model.pattern.0.qk_norm=LAYER_NORM"), 2, "3 problems",
                     f"--set model.width=64: model.width = 64: is 32 in the checkpoint {BASE}", "model.layers = 2: is 4",
                     "model.pattern.0.qk_norm = LAYER_NORM: is OFF")
        self.refused(self.train(2, *MESHES[2], "training.start_from=base"), 2, "base holds checkpoints and is not one itself; name one")
        self.refused(self.train(2, *MESHES[2], "training.start_from="), 2, "8 problems", "model.layers is not set", "model.pattern is empty")
        self.refused(self.train(3, "parallel.tensor_parallel=3"), 2, "model.query_heads = 4: must be a multiple of parallel.tensor_parallel = 3")
        self.assertFalse((self.directory / "run").exists())
        weights = next((self.directory / BASE).glob("rank-00001.safetensors"))
        content = bytearray(weights.read_bytes())
        content[len(content) // 8] ^= 1  # in a weight: they come before the moments
        weights.write_bytes(content)
        self.refused(self.train(2, *MESHES[2]), 4, f"checkpoint {BASE} is refused", weights.name)
        weights.unlink()
        self.refused(self.train(2, *MESHES[2]), 4, f"checkpoint {BASE} is refused", weights.name)

    def test_files_of_the_hugging_face_model_are_carried_along(self):
        files = {"tokenizer.json": b'{"a": 1}\n', "chat_templates/tool.jinja": b"x\0\xff"}
        entries = b""
        for name, content in files.items():
            path = self.directory / BASE / "huggingface" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            entries += b'source_file {\n  name: "%s"\n  bytes: %d\n  crc32c: %d\n}\n' % (name.encode(), len(content), crc32c(content))
        rewrite_manifest(self.directory / BASE / "manifest.textproto", lambda text: text + entries)
        self.check(self.train(2, *MESHES[2], "training.steps=8"))
        shutil.rmtree(self.directory / BASE)
        self.check(self.train(2, *MESHES[2]))
        for step in (8, 12):  # saved by the run that started, and by the one that resumed
            for name, content in files.items():
                self.assertEqual((self.checkpoint(step) / "huggingface" / name).read_bytes(), content)

    def test_a_model_without_a_run_is_an_import(self):
        """A checkpoint of step 0 without data has the form of an imported model."""
        def imported(text):
            text = re.sub(rb"\ndata \{[^}]*\}", b"", text)
            return re.sub(rb"progress \{[^}]*\}", b"progress {\n  step: 0\n  consumed_samples: 0\n  consumed_tokens: 0\n}", text)

        shutil.copytree(self.directory / BASE, self.directory / "model")
        rewrite_manifest(self.directory / "model/manifest.textproto", imported)
        output = self.check(self.train(2, *MESHES[2], "training.start_from=model"))
        self.assertIn("starting from the weights of model (imported from Hugging Face)\n", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
