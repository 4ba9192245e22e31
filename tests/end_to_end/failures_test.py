"""Failures: wrong configurations, numbers of ranks that do not fit, dead ranks, full disks, damaged checkpoints and data."""
import os
import shutil
import signal
import subprocess
import time
import unittest

from harness import RopewalkTest

MESH = ["parallel.context_parallel=2"]


class FailuresTest(RopewalkTest):
    def test_wrong_configuration_is_told_once_with_all_problems(self):
        code, output = self.finish(self.train(2, *MESH, "model.query_heads=3", "training.batch=-1", "training.lerning_rate=1"))
        self.assertEqual(code, 2, output)
        self.assertEqual(output.count("3 problems"), 1, output)
        for part in ("model.query_heads = 3", "training.batch = -1", "did you mean training.learning_rate"):
            self.assertIn(part, output)

    def test_world_that_does_not_fit_the_mesh(self):
        code, output = self.finish(self.train(3, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("context_parallel", output)
        self.assertIn("3", output)

    def test_dead_rank_ends_the_job_in_seconds(self):
        job = self.train(4, "parallel.context_parallel=4", "training.steps=100000", "checkpoint.interval=0", "validation.interval=0")
        self.wait_for_step(2, job)
        victim = self.rank_pids(job)[2]
        began = time.time()
        os.kill(victim, signal.SIGKILL)
        code, output = self.finish(job, timeout=20)
        self.assertLess(time.time() - began, 10)
        self.assertNotEqual(code, 0)
        self.assertIn("process rank 2 ", output)  # mpirun's own report names it

    def test_full_disk(self):
        mounted = self.mount_tmpfs("size=1m")
        # The megabyte has room for one checkpoint of this model, but not for two.
        job = self.train(2, *MESH, "output.directory=small/run", "training.steps=100000", "checkpoint.interval=3", "checkpoint.keep=0",
                         "validation.interval=0")
        code, output = self.finish(job, timeout=60)
        self.assertEqual(code, 4, output)  # after several failed saves
        self.assertIn("the run continues", output)
        self.assertIn("No space left", output)
        self.assertFalse([path for path in (mounted / "run/checkpoints").iterdir() if path.name.endswith(".tmp")])
        # The saved checkpoint is complete: the run can resume from it on another disk.
        shutil.copytree(mounted / "run", self.directory / "run")
        output = self.check(self.train(2, *MESH))
        self.assertIn("continuing after step ", output)

    def test_old_checkpoint_that_cannot_be_removed_is_no_failed_save(self):
        self.check(self.train(2, *MESH, "training.steps=4"))
        (self.checkpoint(4) / "mine").mkdir()  # a save removes no directories inside a checkpoint
        output = self.check(self.train(2, *MESH, "checkpoint.interval=1", "checkpoint.keep=1"))
        self.assertIn("an older checkpoint could not be removed", output)
        self.assertIn(str(self.checkpoint(4).name), output)
        self.assertNotIn("no checkpoint", output)
        self.assertIn("saved a checkpoint after step 12", output)
        self.assertTrue(self.checkpoint(12).exists())
        # A later save of that step can still use its temporary name.
        output = self.check(self.train(2, *MESH, "training.steps=4", options=["--resume-from", "0"]))
        self.assertIn("saved a checkpoint after step 4", output)
        self.assertTrue((self.checkpoint(4).with_suffix(".aside") / "mine").is_dir())

    def test_going_back_sets_later_checkpoints_aside(self):
        self.check(self.train(2, *MESH))
        output = self.check(self.train(2, *MESH, "training.steps=10", "training.seed=7", "training.learning_rate=2e-2",
                                       options=["--resume-from", "8"]))
        self.assertIn("continuing after step 8 ", output)
        self.assertIn("changed since the checkpoint: training.learning_rate: 0.01 -> 0.02", output)
        self.assertIn("warning: changed since the checkpoint: training.seed: 1 -> 7", output)
        self.assertTrue(self.checkpoint(12).with_suffix(".aside").exists())
        self.assertEqual([line["step"] for line in self.numbers()], list(range(1, 11)))
        output = self.check(self.train(2, *MESH))  # not from the abandoned step 12
        self.assertIn("continuing after step 10 ", output)
        output = self.check(self.train(2, *MESH, "training.steps=4", options=["--resume-from", "0"]))
        self.assertNotIn("continuing", output)
        self.assertIn("the metrics of an earlier run are kept as run/metrics.jsonl.1", output)
        self.assertEqual([line["step"] for line in self.numbers()], list(range(1, 5)))
        code, output = self.finish(self.train(2, *MESH, options=["--resume-from", "3"]))
        self.assertEqual(code, 4, output)
        self.assertIn("run/checkpoints has no checkpoint of step 3 (step-00000003); existing checkpoints: step 4; set aside "
                      "(rename to use): step-00000010.aside, step-00000012.aside, step-00000012.aside-2", output)
        self.checkpoint(6).write_text("mine")
        code, output = self.finish(self.train(1, options=["--resume-from", "6"]))
        self.assertEqual(code, 4, output)
        self.assertIn("step-00000006 is not a directory, so it is not a checkpoint", output)
        self.assertIn("can be saved until they are moved: step-00000006", self.check(self.train(1, "training.steps=5")))

    def test_a_checkpoint_under_another_step_is_refused(self):
        self.check(self.train(2, *MESH, "training.steps=8"))
        self.checkpoint(8).rename(self.checkpoint(7))
        for step, options in ((7, ["--resume-from", "7"]), (None, [])):
            code, output = self.finish(self.train(2, *MESH, options=options))
            self.assertEqual(code, 4 if step else 0, output)
            self.assertIn("step-00000007 is refused: rank 0: its manifest is of step 8", output)
            self.assertEqual("using the older checkpoint run/checkpoints/step-00000004" in output, step is None, output)

    def test_finished_run_says_so(self):
        self.check(self.train(1, "training.steps=4"))
        for steps in (4, 3):
            output = self.check(self.train(1, f"training.steps={steps}"))
            self.assertIn("nothing left to do", output)
            self.assertIn("training.steps", output)

    def test_damaged_checkpoint_gives_way_to_the_older_one(self):
        self.check(self.train(2, *MESH, "training.steps=8", "training.warmup_steps=3"))
        for newest in self.checkpoint(8).glob("*.safetensors"):
            data = bytearray(newest.read_bytes())
            data[-5] ^= 1
            newest.write_bytes(data)
        output = self.check(self.train(2, *MESH))
        self.assertIn("continuing after step 4 ", output)
        self.assertRegex(output, r"step-00000008.*(model|optimizer)\.[a-z_.0-9]+")  # refused; the message has the tensor's name
        self.assertEqual([line["step"] for line in self.numbers()], list(range(1, 13)))

    def test_all_checkpoints_damaged(self):
        self.check(self.train(1, "training.steps=4"))
        for path in self.checkpoint(4).glob("*.safetensors"):
            os.truncate(path, path.stat().st_size - 1)
        code, output = self.finish(self.train(1))
        self.assertEqual(code, 4, output)
        self.check(self.train(1, options=["--resume-from", "0"]))

    def test_another_model_is_refused(self):
        self.check(self.train(1, "training.steps=4"))
        code, output = self.finish(self.train(2, *MESH, "model.width=40"))
        self.assertEqual(code, 2, output)
        self.assertIn("model.embed_tokens.weight", output)

    def test_damaged_data(self):
        index = self.directory / "text.idx"
        data = index.read_bytes()
        for damaged in (b"", data[:40], data[:-1], b"X" + data[1:]):
            index.write_bytes(damaged)
            code, output = self.finish(self.train(2, *MESH))
            self.assertEqual(code, 3, output)
            self.assertIn("text.idx", output)
        index.write_bytes(data)
        os.truncate(self.directory / "text.bin", 100)
        code, output = self.finish(self.train(1))
        self.assertEqual(code, 3, output)
        self.assertIn("text.bin", output)

    def test_token_beyond_the_vocabulary(self):
        with open(self.directory / "text.bin", "r+b") as tokens:
            tokens.write(b"\xff\xff" * 100)  # u16
        code, output = self.finish(self.train(2, *MESH, "training.steps=1000"))
        self.assertEqual(code, 3, output)
        self.assertIn("65535", output)
        self.assertIn("text.bin", output)

    def test_failure_of_one_rank_ends_all_in_order(self):
        """The job must not end by MPI_Abort, which sometimes makes mpirun fail."""
        with open(self.directory / "text.bin", "r+b") as tokens:
            tokens.write(b"\xff\xff" * 20)  # only in a sequence of one rank
        code, output = self.finish(self.train(2, "parallel.data_parallel=2", "training.steps=1000"))
        self.assertEqual(code, 3, output)
        self.assertRegex(output, r"ropewalk: rank [01] on \S+: ")
        self.assertNotIn("MPI_ABORT", output)

    def test_no_tokenizer_means_no_samples(self):
        output = self.check(self.train(1, "data.tokenizer=none", "validation.sample_tokens=0", "training.steps=6"))
        self.assertNotIn("sample after", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
