"""A run's directory: files of the user and of earlier runs, full disks, concurrent jobs, durability."""
import json
import os
import shutil
import signal
import struct
import unittest

from harness import RopewalkTest

MESH = ["parallel.context_parallel=2"]


class RunFilesTest(RopewalkTest):
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
        self.assertIn("warning: run/metrics.jsonl is damaged (line 3-4); it continues without these lines, and the old file is kept "
                      "as run/metrics.jsonl.1", output)
        self.assertIn("run/metrics.jsonl has no lines for step 3, which the checkpoint includes", output)
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
        """When a launcher is killed, its ranks live on for a moment and hold the lock."""
        for _ in range(3):
            first = self.train(2, *MESH, "training.steps=100000", "validation.interval=0", "checkpoint.interval=1")
            self.wait_for_step(2, first)
            first.kill()
            first.wait()
            code, output = self.finish(self.train(2, *MESH, "training.steps=3"))
            self.assertEqual(code, 0, output)

    def test_a_start_removes_what_a_killed_run_had_not(self):
        self.check(self.train(0))
        shutil.copytree(self.checkpoint(8), self.checkpoint(4))  # beyond checkpoint.keep
        shutil.copytree(self.checkpoint(8), self.checkpoint(5).with_suffix(".tmp"))  # half removed
        self.assertIn("nothing left to do", self.check(self.train(0)))
        self.assertEqual(sorted(path.name for path in self.checkpoint(8).parent.iterdir()), ["step-00000008", "step-00000012"])

    def test_start_on_a_full_disk(self):
        """The run trains, reports what it cannot write, and stops after several failed saves. With space again, the run is completed."""
        mounted = self.mount_tmpfs("size=8m")
        self.check(self.train(2, *MESH, "output.directory=small/run", "training.steps=4"))
        with open(mounted / "filler", "wb", buffering=0) as filler:
            try:
                while filler.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        code, output = self.finish(self.train(2, *MESH, "output.directory=small/run", "checkpoint.interval=2"))
        self.assertEqual(code, 4, output)  # after several failed saves
        self.assertIn("continuing after step 4 ", output)
        self.assertRegex(output, r"warning: cannot \w+ small/run/events/.*No space left")
        self.assertIn("step 10/12", output)
        (mounted / "filler").unlink()
        self.check(self.train(2, *MESH, "output.directory=small/run"))
        self.assertEqual([line["step"] for line in self.numbers("small/run")], list(range(1, 13)))

    def preloaded(self, **variables):
        if "PRELOADED_FSYNC" not in os.environ:
            self.skipTest("no library to preload: run by ctest, without a sanitizer")
        return {"LD_PRELOAD": os.environ["PRELOADED_FSYNC"], **variables}

    def test_what_was_said_is_durable_before_its_checkpoint(self):
        log = self.directory / "log"
        self.check(self.train(2, *MESH, variables=self.preloaded(FSYNC_LOG=str(log))))
        calls = log.read_text().splitlines()
        begin = 0
        for step in (4, 8, 12):
            commit = calls.index(f"rename run/checkpoints/step-{step:08d}")
            since = calls[begin:commit]
            run = self.directory / "run"
            self.assertIn(f"fsync {run}/metrics.jsonl", since)
            self.assertTrue(any(call.startswith(f"fsync {run}/events/events.out.tfevents.") for call in since), since)
            self.assertEqual(calls[commit + 1], f"fsync {run}/checkpoints")
            begin = commit
        config = calls.index("rename run/config.textproto")
        self.assertEqual(calls[config - 1:config + 2:2], [f"fsync {run}/config.textproto.ropewalk-tmp", f"fsync {run}"])

    def test_directories_that_cannot_be_made_durable(self):
        """Some file systems do not support fsync of a directory: a warning at the start, and the run continues."""
        preloaded = self.preloaded(NO_DIRECTORY_FSYNC="1")
        output = self.check(self.start(0, ["prepare", "--input", "text.jsonl", "--output", "other"], variables=preloaded))
        self.assertIn("cannot make the names of files durable", output)
        output = self.check(self.train(2, *MESH, "data.prefix=other", variables=preloaded))
        self.assertEqual(output.count("cannot make the names of files durable"), 1, output)
        self.assertNotIn("no checkpoint", output)
        self.assertTrue(self.checkpoint(12).exists())
        self.assertNotIn("cannot make", self.check(self.train(2, *MESH, "training.steps=13")))

    def test_second_job_in_the_same_directory_is_refused(self):
        first = self.train(2, *MESH, "training.steps=100000", "checkpoint.interval=0", "validation.interval=0")
        self.wait_for_step(2, first)
        pids = self.rank_pids(first)
        for pid in pids:  # save CPU time while the second job waits for the lock
            os.kill(pid, signal.SIGSTOP)
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("another job is writing there", output)
        self.assertIn(f"process {pids[0]} ", output)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        self.wait_for_step(self.metrics()[-1]["step"] + 1, first)  # undisturbed
        os.kill(pids[0], signal.SIGKILL)  # a lock dies with its holder
        self.finish(first, timeout=20)
        self.check(self.train(2, *MESH))

    def test_checkpoints_that_cannot_be_written_are_told_at_the_start(self):
        (self.directory / "run").mkdir()
        (self.directory / "run/checkpoints").write_text("in the way")
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("run/checkpoints", output)
        self.assertFalse((self.directory / "run/metrics.jsonl").exists())

    def test_directory_that_cannot_be_written(self):
        (self.directory / "run").write_text("a file")
        code, output = self.finish(self.train(2, *MESH))
        self.assertEqual(code, 2, output)
        self.assertIn("output.directory", output)

    def test_a_mean_of_nothing_is_no_number(self):
        """With documents of one token, some steps have no targets, and the validation part has none."""
        def write(lengths):  # writes documents of these lengths in Megatron's format; `prepare` would append a token to each
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
        # A range of positions that never has a target, because every document ends where its sequence ends.
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


if __name__ == "__main__":
    unittest.main(verbosity=2)
