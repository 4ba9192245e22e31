"""What goes wrong in the world: wrong configurations and worlds, dead ranks, full disks, damaged checkpoints and data."""
import json
import os
import shutil
import signal
import struct
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
        # One checkpoint of this model fits into the megabyte, a second does not.
        job = self.train(2, *MESH, "output.directory=small/run", "training.steps=100000", "checkpoint.interval=3", "checkpoint.keep=0",
                         "validation.interval=0")
        code, output = self.finish(job, timeout=60)
        self.assertEqual(code, 4, output)  # after several saves in vain
        self.assertIn("going on", output)
        self.assertIn("No space left", output)
        self.assertFalse([path for path in (mounted / "run/checkpoints").iterdir() if path.name.endswith(".tmp")])
        # What was saved is whole: another disk, and the run goes on from it.
        shutil.copytree(mounted / "run", self.directory / "run")
        output = self.check(self.train(2, *MESH))
        self.assertIn("continuing after step ", output)

    def mount_tmpfs(self, options):
        mounted = self.directory / "small"
        mounted.mkdir()
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", mounted], capture_output=True).returncode:
            self.skipTest("needs root and tmpfs")
        self.addCleanup(subprocess.run, ["umount", mounted])
        return mounted

    def test_start_on_a_full_disk(self):
        """Like a run on one: it trains, tells what it cannot write, and stops after several saves in vain; with room again it is whole."""
        mounted = self.mount_tmpfs("size=8m")
        self.check(self.train(2, *MESH, "output.directory=small/run", "training.steps=4"))
        with open(mounted / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        code, output = self.finish(self.train(2, *MESH, "output.directory=small/run", "checkpoint.interval=2"))
        self.assertEqual(code, 4, output)  # after several saves in vain
        self.assertIn("continuing after step 4 ", output)
        self.assertRegex(output, r"warning: cannot \w+ small/run/events/.*No space left")
        self.assertIn("step 10/12", output)
        (mounted / "filler").unlink()
        self.check(self.train(2, *MESH, "output.directory=small/run"))
        self.assertEqual([line["step"] for line in self.numbers("small/run")], list(range(1, 13)))

    def test_directories_that_cannot_be_made_durable(self):
        """Some file systems know no fsync of a directory: a word at the start, and all goes on."""
        if "NO_DIRECTORY_FSYNC" not in os.environ:
            self.skipTest("no library to preload: run by ctest, without a sanitizer")
        preloaded = {"LD_PRELOAD": os.environ["NO_DIRECTORY_FSYNC"]}
        output = self.check(self.start(0, ["prepare", "--input", "text.jsonl", "--output", "other"], variables=preloaded))
        self.assertIn("cannot make the names of files durable", output)
        output = self.check(self.train(2, *MESH, "data.prefix=other", variables=preloaded))
        self.assertEqual(output.count("cannot make the names of files durable"), 1, output)
        self.assertNotIn("no checkpoint", output)
        self.assertTrue(self.checkpoint(12).exists())
        self.assertNotIn("cannot make", self.check(self.train(2, *MESH, "training.steps=13")))

    def test_old_checkpoint_that_cannot_be_removed_is_no_failed_save(self):
        self.check(self.train(2, *MESH, "training.steps=4"))
        (self.checkpoint(4) / "mine").mkdir()  # a save removes no directories inside a checkpoint
        output = self.check(self.train(2, *MESH, "checkpoint.interval=1", "checkpoint.keep=1"))
        self.assertIn("an older checkpoint could not be removed", output)
        self.assertIn(str(self.checkpoint(4).name), output)
        self.assertNotIn("no checkpoint", output)
        self.assertIn("saved a checkpoint after step 12", output)
        self.assertTrue(self.checkpoint(12).exists())
        # Nor is a save of that step kept from its temporary name.
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
        output = self.check(self.train(2, *MESH))  # not from the step 12 that was given up
        self.assertIn("continuing after step 10 ", output)
        output = self.check(self.train(2, *MESH, "training.steps=4", options=["--resume-from", "0"]))
        self.assertNotIn("continuing", output)
        self.assertIn("the metrics of an earlier run are kept as run/metrics.jsonl.1", output)
        self.assertEqual([line["step"] for line in self.numbers()], list(range(1, 5)))
        code, output = self.finish(self.train(2, *MESH, options=["--resume-from", "3"]))
        self.assertEqual(code, 4, output)
        self.assertIn("run/checkpoints has no checkpoint of step 3 (step-00000003); there are step 4; set aside, until "
                      "renamed, are step-00000010.aside, step-00000012.aside, step-00000012.aside-2", output)
        self.checkpoint(6).write_text("mine")
        code, output = self.finish(self.train(1, options=["--resume-from", "6"]))
        self.assertEqual(code, 4, output)
        self.assertIn("step-00000006 is no directory, so no checkpoint", output)
        self.assertIn("so no checkpoints, and in the way of those to come: step-00000006", self.check(self.train(1, "training.steps=5")))

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

    def test_metrics_that_cannot_be_written_do_not_stop_the_run(self):
        victim = self.directory / "victim"
        victim.write_text("mine")
        for name, put in (("metrics.jsonl", lambda path: path.symlink_to(victim)), ("metrics.jsonl", lambda path: path.mkdir()),
                          ("metrics.jsonl", os.mkfifo), ("events", lambda path: path.write_text("in the way"))):
            for resumed in (False, True):
                shutil.rmtree(self.directory / "run", ignore_errors=True)
                (self.directory / "run").mkdir()
                if resumed:
                    self.check(self.train(1, "training.steps=4"))
                    path = self.directory / "run" / name
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                put(self.directory / "run" / name)
                output = self.check(self.train(2, *MESH))
                self.assertEqual(output.count("warning: cannot"), 1, output)
                self.assertIn(f"run/{name}", output)
                self.assertEqual("continuing after step 4" in output, resumed, output)
                self.assertTrue(self.checkpoint(12).exists())
        self.assertEqual(victim.read_text(), "mine")

    def test_damaged_metrics_are_set_aside(self):
        self.check(self.train(2, *MESH, "training.steps=8"))
        metrics = self.directory / "run/metrics.jsonl"
        lines = metrics.read_bytes().splitlines(keepends=True)
        damaged = b"".join(lines[:2]) + b"\0" * 300 + lines[2][40:] + b"\n" + b"".join(lines[3:])
        metrics.write_bytes(damaged)
        output = self.check(self.train(2, *MESH))
        self.assertIn("warning: run/metrics.jsonl is damaged (line 3-4); it goes on without that, and is kept as it was as "
                      "run/metrics.jsonl.1", output)
        self.assertIn("run/metrics.jsonl has no lines of step 3, before the checkpoint", output)
        self.assertEqual([line["step"] for line in self.numbers()], [1, 2, *range(4, 13)])
        self.assertEqual((self.directory / "run/metrics.jsonl.1").read_bytes(), damaged)

    def test_a_file_of_the_users_is_never_replaced(self):
        own = (self.directory / "config.textproto").read_bytes()
        for name, directory in (("config.textproto", "."), ("lock", "other")):
            (self.directory / directory).mkdir(exist_ok=True)
            before = own if directory == "." else b"my lock"
            (self.directory / directory / name).write_bytes(before)
            code, output = self.finish(self.train(2, *MESH, f"output.directory={directory}"))
            self.assertEqual(code, 2, output)
            self.assertIn(f"{name} is in the way", output)
            self.assertEqual((self.directory / directory / name).read_bytes(), before)
            self.assertFalse((self.directory / directory / "metrics.jsonl").exists())

    def test_traces_replace_traces_only(self):
        trace = self.directory / "run/trace/rank-00000.json"
        trace.parent.mkdir(parents=True)
        for text, told in (("my notes", "warning: no trace: "), ("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[]}", "a trace of each rank is in")):
            trace.write_text(text)
            output = self.check(self.train(1, "output.trace_steps=1", options=["--resume-from", "0"]))
            self.assertIn(told, output)
            self.assertEqual(trace.read_text() == "my notes", text == "my notes")

    def test_restart_at_once_after_a_kill(self):
        """The ranks of a launcher that was killed live on for a moment, and hold the lock."""
        for _ in range(3):
            first = self.train(2, *MESH, "training.steps=100000", "validation.interval=0", "checkpoint.interval=1")
            self.wait_for_step(2, first)
            first.kill()
            first.wait()
            code, output = self.finish(self.train(2, *MESH, "training.steps=3"))
            self.assertEqual(code, 0, output)

    def test_checkpoints_that_cannot_be_written_are_told_at_the_start(self):
        (self.directory / "run").mkdir()
        (self.directory / "run/checkpoints").write_text("in the way")
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("run/checkpoints", output)
        self.assertFalse((self.directory / "run/metrics.jsonl").exists())

    def test_second_job_in_the_same_directory_is_refused(self):
        first = self.train(2, *MESH, "training.steps=100000", "checkpoint.interval=0", "validation.interval=0")
        self.wait_for_step(2, first)
        holder = self.rank_pids(first)[0]
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("another job is writing there", output)
        self.assertIn(f"process {holder} ", output)
        self.assertIsNone(first.poll())  # undisturbed
        os.kill(holder, signal.SIGKILL)  # a lock dies with its holder
        self.finish(first, timeout=20)
        self.check(self.train(2, *MESH))

    def test_damaged_checkpoint_gives_way_to_the_older_one(self):
        self.check(self.train(2, *MESH, "training.steps=8", "training.warmup_steps=3"))
        for newest in self.checkpoint(8).glob("*.safetensors"):
            data = bytearray(newest.read_bytes())
            data[-5] ^= 1
            newest.write_bytes(data)
        output = self.check(self.train(2, *MESH))
        self.assertIn("continuing after step 4 ", output)
        self.assertRegex(output, r"step-00000008.*(model|optimizer)\.[a-z_.0-9]+")  # refused, by the tensor's name
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

    def test_a_mean_of_nothing_is_no_number(self):
        """Documents of one token among others: some steps have no target, and neither has the validation part."""
        def write(lengths):  # of documents, in Megatron's format: `prepare` ends each with a token of its own
            count = len(lengths)
            offsets = [2 * sum(lengths[:i]) for i in range(count)]
            (self.directory / "text.bin").write_bytes(struct.pack(f"<{sum(lengths)}H", *(i % 200 for i in range(sum(lengths)))))
            (self.directory / "text.idx").write_bytes(b"MMIDIDX\0\0" + struct.pack("<QBQQ", 1, 8, count, count + 1) + struct.pack(
                f"<{count}i{count}q{count + 1}q", *lengths, *offsets, *range(count + 1)))

        write([25] * 12 + [1] * 400)
        output = self.check(self.train(2, *MESH, "training.batch=1", "data.validation_fraction=0.2"))
        lines = self.metrics()
        without = [line for line in lines if line["loss"] is None]
        self.assertTrue(0 < len(without) < 12, lines)
        for line in without:
            self.assertEqual(line["gradient_norm"], 0)
            self.assertRegex(output, rf"step {line['step']}/12  no targets  ")
        self.assertTrue(all(line["loss"] is None or line["loss"] > 1 for line in lines), lines)
        self.assertEqual([line["validation_loss"] for line in lines if "validation_loss" in line], [None] * 3)
        self.assertIn("validation: no targets", output)
        # A range of positions that no target is ever in: every document ends where its sequence does.
        write([60] * 40)
        output = self.check(self.train(1, "validation.position_ranges=60", "output.directory=ranges"))
        by_position = self.metrics("ranges")[3]["validation_loss_by_position"]
        self.assertIsNone(by_position[59])
        self.assertTrue(all(loss > 0 for loss in by_position[:59]), by_position)
        self.assertRegex(output, r"by position .* none\n")
        write([1] * 2000)
        code, output = self.finish(self.train(2, *MESH, "output.directory=none"))
        self.assertEqual(code, 3, output)
        self.assertIn("text.bin has nothing to train on", output)

    def test_no_tokenizer_means_no_samples(self):
        output = self.check(self.train(1, "data.tokenizer=none", "validation.sample_tokens=0", "training.steps=6"))
        self.assertNotIn("sample after", output)

    def test_directory_that_cannot_be_written(self):
        (self.directory / "run").write_text("a file")
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("output.directory", output)


if __name__ == "__main__":
    unittest.main(verbosity=2)
