"""A run in stages with different lengths, batch sizes, RoPE bases and data. Stopped at any step and resumed, it has the bits of an
uninterrupted run. Later stages may be edited in between. Every stage starts with its first sample."""
import shutil
import unittest

from harness import RopewalkTest

# The second stage continues the first one's order of samples; the third has longer sequences, the fourth other data.
STAGES = ["training.stages.0.first_step=3", "training.stages.0.batch=2",
          "training.stages.1.first_step=5", "training.stages.1.sequence_length=150", "training.stages.1.theta=300",
          "training.stages.2.first_step=9", "training.stages.2.sequence_length=37", "training.stages.2.prefix=more",
          "training.stages.2.batch=4", "training.stages.2.micro_batch=2", "training.stages.2.theta=5000"]
LENGTHS = [60] * 5 + [150] * 4 + [37] * 3
BATCHES = [4] * 3 + [2] * 6 + [4] * 3
ALL_CHECKPOINTS = ["checkpoint.interval=1", "checkpoint.keep=0"]
MESH = ["parallel.context_parallel=2"]
OTHER_MESH = ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]


class StagesTest(RopewalkTest):
    def setUp(self):
        super().setUp()
        (self.directory / "more.txt").write_text("other words than those of the text, to be told apart from it. " * 60)
        self.check(self.start(0, ["prepare", "--input", "more.txt", "--output", "more"]))

    def run_to_its_end(self, directory, *settings, ranks=2, mesh=MESH):
        return self.check(self.train(ranks, *mesh, f"output.directory={directory}", *settings))

    def resume(self, source, step, directory, *settings, ranks=2, mesh=MESH):
        """Copies a checkpoint of the run `source` to a new directory, and resumes from it."""
        (self.directory / directory / "checkpoints").mkdir(parents=True)
        shutil.copytree(self.checkpoint(step, source), self.checkpoint(step, directory))
        output = self.run_to_its_end(directory, *settings, ranks=ranks, mesh=mesh)
        self.assertIn(f"continuing after step {step} ", output)
        return output

    def test_resumed_in_and_between_stages(self):
        output = self.run_to_its_end("whole", *STAGES, *ALL_CHECKPOINTS)
        for line in ("after step 0: sequences of 60 tokens, 4 a step\n", "after step 3: sequences of 60 tokens, 2 a step\n",
                     "after step 5: sequences of 150 tokens, 2 a step, theta 300\n",
                     "after step 9: sequences of 37 tokens, 4 a step, theta 5000\n"):
            self.assertIn(line, output)
        whole = self.numbers("whole")
        self.assertEqual([line["sequence_length"] for line in whole], LENGTHS)
        consumed = [sum(a * b for a, b in zip(LENGTHS[:step], BATCHES)) for step in range(1, 13)]
        self.assertEqual([line["tokens"] for line in whole], consumed)
        self.assertIn(f"parameters in 4 layers; {consumed[-1] / 1e3:.1f} k tokens in 12 steps", output)
        for step in range(1, 12):  # 3, 5 and 9 are exactly between two stages
            output = self.resume("whole", step, f"from{step}", *STAGES)
            self.assertNotIn("changed since", output)
            self.assertNotIn("warning", output)
            self.assertEqual(self.numbers(f"from{step}"), whole[step:], f"after step {step}")
            self.assertEqual(self.tensors(12, f"from{step}"), self.tensors(12, "whole"), f"after step {step}")
        # See bits_test.py for the bound, which holds for 12 steps.
        self.resume("whole", 7, "moved", *STAGES, ranks=4, mesh=OTHER_MESH)
        for old, new in zip(whole[7:], self.numbers("moved")):
            self.assertEqual([old["step"], old["tokens"]], [new["step"], new["tokens"]])
            self.assertAlmostEqual(old["loss"], new["loss"], delta=7e-5 * old["loss"])

    def test_a_blend_resumed_and_on_another_mesh(self):
        """The last stage mixes both datasets; a checkpoint identifies both."""
        blend = [*STAGES[:5], 'training.stages.1.blend=[{prefix: "text" weight: 3}, {prefix: "more" weight: 1}]']
        output = self.run_to_its_end("whole", *blend, *ALL_CHECKPOINTS)
        self.assertIn("0.75 of text, 0.25 of more", output)
        whole = self.numbers("whole")
        for step in (4, 5, 6, 11):
            output = self.resume("whole", step, f"from{step}", *blend)
            self.assertNotIn("changed since", output)
            self.assertEqual(self.numbers(f"from{step}"), whole[step:], f"after step {step}")
        # See bits_test.py for the bound, which holds for 12 steps.
        self.resume("whole", 6, "moved", *blend, ranks=4, mesh=OTHER_MESH)
        for old, new in zip(whole[6:], self.numbers("moved")):
            self.assertAlmostEqual(old["loss"], new["loss"], delta=7e-5 * old["loss"])
        (self.directory / "more.txt").write_text("words that have changed since, of which there are enough for all. " * 60)
        self.check(self.start(0, ["prepare", "--input", "more.txt", "--output", "more", "--overwrite"]))
        output = self.resume("whole", 6, "changed", *blend)
        self.assertIn("warning: changed since the checkpoint: the data behind training.stages.1.blend.1.prefix: more.bin", output)
        output = self.resume("whole", 6, "reweighted", *blend[:-1], blend[-1].replace("3", "2"))
        self.assertIn("warning: changed since the checkpoint: training.stages.1.blend.0.weight: 3 -> 2", output)

    def test_stages_to_come_may_be_edited(self):
        """Stages added to a run that had none, or changed, have the same effect as from the start."""
        added = ["training.stages.0.first_step=8", "training.stages.0.sequence_length=150", "training.stages.0.theta=300"]
        self.run_to_its_end("whole", *added)
        self.run_to_its_end("plain", *ALL_CHECKPOINTS)
        for step in (5, 8):
            output = self.resume("plain", step, f"added{step}", *added)
            self.assertIn("\nchanged since the checkpoint: training.stages.0.first_step: nothing -> 8", output)
            self.assertNotIn("warning", output)
            self.assertEqual(self.tensors(12, f"added{step}"), self.tensors(12, "whole"))
        self.assertNotEqual(self.tensors(12, "plain"), self.tensors(12, "whole"))

        # Editing a stage that has begun: a warning, also about the first sample.
        self.run_to_its_end("staged", *added, *ALL_CHECKPOINTS)
        output = self.resume("staged", 10, "edited", *added, "training.stages.0.first_step=7")
        self.assertIn("warning: changed since the checkpoint: training.stages.0.first_step: 8 -> 7", output)
        self.assertIn("warning: the checkpoint was saved in another stage; this one starts with its first samples", output)

    def test_stages_that_are_over_need_not_fit_the_mesh(self):
        """Two data-parallel ranks cannot split a batch of one, but a stage that is over need not be split."""
        stages = ["training.batch=1", "training.stages.0.first_step=6", "training.stages.0.batch=4", *ALL_CHECKPOINTS]
        self.run_to_its_end("small", *stages, "training.steps=8")
        begun = self.train(2, *stages, "output.directory=small", options=["--resume-from", "5"])  # data parallel
        code, output = self.finish(begun)
        self.assertEqual(code, 2, output)
        self.assertIn("training.batch = 1: must be a multiple of data_parallel = 2", output)
        self.assertEqual(len(list((self.directory / "small/checkpoints").glob("*.aside"))), 0, "a refused start sets nothing aside")
        output = self.check(self.train(2, *stages, "output.directory=small"))
        self.assertIn("continuing after step 8 ", output)
        self.assertEqual(self.metrics("small")[-1]["step"], 12)
        output = self.check(self.train(2, *stages, "output.directory=small", "training.steps=11", options=["--resume-from", "6"]))
        self.assertIn("continuing after step 6 ", output)
        # If the newest checkpoint is damaged and the one before is from a stage that does not fit, the error appears after all.
        for path in [*self.checkpoint(11, "small").glob("*.safetensors")]:
            path.unlink()
        for step in range(6, 11):
            shutil.rmtree(self.checkpoint(step, "small"), ignore_errors=True)
        code, output = self.finish(self.train(2, *stages, "output.directory=small"))
        self.assertEqual(code, 2, output)
        self.assertIn("training.batch = 1: must be a multiple of data_parallel = 2", output)
        # `validate` checks all stages.
        code, output = self.finish(self.start(0, ["validate", "config.textproto", "--ranks", "2", *(
            word for setting in stages for word in ("--set", setting))]))
        self.assertEqual(code, 2, output)

    def test_data_that_changed_are_told(self):
        """Changed data of every stage are reported, as a warning if the stage had begun; identical data prepared again are not."""
        stages = ["training.stages.0.first_step=6", "training.stages.0.prefix=more", *ALL_CHECKPOINTS]

        def prepare(prefix, text):
            (self.directory / "other.txt").write_text(text)
            self.check(self.start(0, ["prepare", "--input", "other.txt", "--output", prefix, "--overwrite"]))

        def told(step):
            output = self.check(self.train(2, *MESH, *stages, options=["--resume-from", str(step)]))
            return [line for line in output.splitlines() if "changed since" in line]

        self.run_to_its_end("run", *stages)
        more = "other words than those of the text, to be told apart from it. " * 60
        prepare("more", more)
        self.assertEqual(told(8), [])
        prepare("more", more.replace("words", "wards"))
        self.assertEqual(told(8), ["warning: changed since the checkpoint: the data behind training.stages.0.prefix: more.bin: other contents"])
        self.assertEqual(told(4), ["changed since the checkpoint: the data behind training.stages.0.prefix: more.bin: other contents"])
        self.assertEqual(told(8), [])  # this checkpoint was written with the new data
        size = (self.directory / "text.bin").stat().st_size
        prepare("text", more * 4)
        self.assertRegex(told(8)[0], rf"warning: changed since the checkpoint: the data behind data.prefix: text.bin: {size} bytes -> \d+ bytes, "
                         r"text.idx: \d+ bytes -> \d+ bytes")

    def test_samples_of_stages(self):
        """With learning rate 0 the weights are constant, so that each loss identifies its samples."""
        def losses(directory, *settings):
            self.run_to_its_end(directory, "training.learning_rate=0", "training.warmup_steps=0", *settings, ranks=0, mesh=[])
            return [line["loss"] for line in self.numbers(directory)]

        plain = losses("plain")
        # Another micro-batch: the order of samples continues. Sums are in another order: 1e3 terms, 2^-24 each.
        goes_on = losses("goes_on", "training.stages.0.first_step=5", "training.stages.0.micro_batch=2")
        for old, new in zip(plain, goes_on):
            self.assertAlmostEqual(old, new, delta=1e3 * 2**-24 * old)
        based = losses("based", "training.stages.0.first_step=5", "training.stages.0.theta=7")
        self.assertEqual([old == new for old, new in zip(plain, based)], [True] * 5 + [False] * 7)
        # A stage with another sequence length starts with its first sample, however many samples came before. Its order is not that of
        # a run with this length from the start.
        longer = ["training.stages.0.first_step=5", "training.stages.0.sequence_length=150"]
        after_many = losses("after_many", *longer)
        after_few = losses("after_few", *longer, "training.batch=2", "training.stages.0.batch=4")
        self.assertEqual(after_many[5:], after_few[5:])
        self.assertNotEqual(after_many[:5], after_few[:5])
        self.assertEqual(len(set(plain + after_many[5:])), 12 + 7)


if __name__ == "__main__":
    unittest.main(verbosity=2)
