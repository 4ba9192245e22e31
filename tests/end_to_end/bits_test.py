"""Reproducibility: the same mesh gives the same bits. A run that was stopped and resumed has the bits of an uninterrupted one. A run
resumed on another mesh has the same losses up to fp32 rounding."""
import shutil
import signal
import unittest

from harness import RopewalkTest

MESHES = {1: [], 2: ["parallel.context_parallel=2"], 4: ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]}


class BitsTest(RopewalkTest):
    def test_same_mesh_twice(self):
        for ranks, mesh in MESHES.items():
            for run in ("first", "second"):
                self.check(self.train(ranks, *mesh, f"output.directory={run}{ranks}"))
            self.assertEqual(self.numbers(f"first{ranks}"), self.numbers(f"second{ranks}"))
            self.assertEqual(self.tensors(12, f"first{ranks}"), self.tensors(12, f"second{ranks}"))
        self.assertLess(self.numbers("first1")[-1]["loss"], self.numbers("first1")[0]["loss"] - 1)  # it learns

        # All meshes agree with one rank. Each of the 12 steps adds a relative rounding error of about sqrt(terms) * 2^-24 to losses near 5.
        # AdamW divides by the gradient's magnitude, so errors stay relative. The sum is at most 12 * 2^-24 * sqrt(1e4) = 7e-5.
        for ranks in (2, 4):
            for one, many in zip(self.numbers("first1"), self.numbers(f"first{ranks}")):
                self.assertAlmostEqual(one["loss"], many["loss"], delta=7e-5 * one["loss"])

    def test_stopped_and_resumed_is_uninterrupted(self):
        for ranks in (2, 4):
            whole, parts = f"whole{ranks}", f"parts{ranks}"
            self.check(self.train(ranks, *MESHES[ranks], f"output.directory={whole}"))
            job = self.train(ranks, *MESHES[ranks], f"output.directory={parts}", "training.batch=4")
            self.wait_for_step(2, job, parts)
            job.send_signal(signal.SIGUSR1)
            code, output = self.finish(job)
            self.assertIn(code, (85, 0), output)
            stopped_after = len(self.metrics(parts))
            if code == 85:
                self.assertLess(stopped_after, 12)
                output = self.check(self.train(ranks, *MESHES[ranks], f"output.directory={parts}"))
                self.assertIn(f"continuing after step {stopped_after} ", output)
            self.assertEqual(self.numbers(whole), self.numbers(parts))
            self.assertEqual(self.tensors(12, whole), self.tensors(12, parts))

    def test_another_mesh_goes_on(self):
        self.check(self.train(4, *MESHES[4], "output.directory=whole"))
        shutil.copytree(self.checkpoint(8, "whole"), self.checkpoint(8, "moved"))
        for ranks, mesh in {1: [], 2: ["parallel.tensor_parallel=2"], 3: ["parallel.context_parallel=3"],
                            4: ["parallel.data_parallel=4"]}.items():
            run = f"moved{ranks}"
            shutil.copytree(self.directory / "moved", self.directory / run)
            output = self.check(self.train(ranks, *mesh, f"output.directory={run}"))
            self.assertIn("continuing after step 8 ", output)
            for old, new in zip(self.numbers("whole")[8:], self.numbers(run)):
                self.assertEqual(old["step"], new["step"])
                self.assertAlmostEqual(old["loss"], new["loss"], delta=7e-5 * old["loss"])  # as above
                self.assertEqual("validation_loss" in old, "validation_loss" in new)
                if "validation_loss" in old:  # over the same samples on every mesh
                    for a, b in zip([old["validation_loss"], *old["validation_loss_by_position"]],
                                    [new["validation_loss"], *new["validation_loss_by_position"]]):
                        self.assertAlmostEqual(a, b, delta=7e-5 * a)


if __name__ == "__main__":
    unittest.main(verbosity=2)
