"""Paused ranks: if a machine sleeps, all ranks pause and the run continues; if only one rank hangs, the error names it."""
import os
import signal
import time
import unittest

from harness import RopewalkTest

DEADLINE = 3
LONG = ["training.steps=100", "checkpoint.interval=0", f"parallel.deadline_seconds={DEADLINE}"]
MESHES = {2: ["parallel.context_parallel=2"], 4: ["parallel.context_parallel=2", "parallel.tensor_parallel=2"]}


class PausesTest(RopewalkTest):
    def send(self, job, number, count, ranks=None):
        """Sends a signal to all ranks of the job of `count` ranks, or to some."""
        pids = self.rank_pids(job)
        self.assertEqual(len(pids), count)
        for rank, pid in enumerate(pids):
            if ranks is None or rank in ranks:
                os.kill(pid, number)

    def test_a_machine_that_sleeps_is_nobodys_fault(self):
        """Twice all ranks are paused, not quite simultaneously, for longer than the deadline: the run continues with the same bits."""
        for count, mesh in MESHES.items():
            self.check(self.train(count, *mesh, *LONG, f"output.directory=awake{count}"))
            job = self.train(count, *mesh, *LONG, f"output.directory=run{count}")
            for step in (5, 20):
                self.wait_for_step(step, job, run=f"run{count}")
                self.send(job, signal.SIGSTOP, count)
                time.sleep(DEADLINE + 2)
                self.send(job, signal.SIGCONT, count)
            self.check(job)
            self.assertEqual(self.numbers(f"run{count}"), self.numbers(f"awake{count}"))

    def test_a_rank_that_hangs_alone_is_named(self):
        job = self.train(4, *MESHES[4], *LONG, "training.steps=100000")
        self.wait_for_step(5, job)
        began = time.time()
        self.send(job, signal.SIGSTOP, 4, ranks=[2])
        code, output = self.finish(job, timeout=60)
        self.assertEqual(code, 5, output)
        self.assertLess(time.time() - began, DEADLINE + 12)
        self.assertRegex(output, r"ropewalk: rank 2 on \S+ has not answered rank [013] on \S+ for [34]\.\d s", output)
        self.assertRegex(output, r"no word from rank 2 on \S+; 3 of 4 ranks have reported")


if __name__ == "__main__":
    unittest.main(verbosity=2)
