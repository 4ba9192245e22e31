"""Signals to mpirun, or to one rank: the job saves a checkpoint and stops, with exit code 85."""
import os
import signal
import subprocess
import time
import unittest

from harness import ROPEWALK, RopewalkTest, environment

# Few log lines: while mpirun waits to forward a SIGTERM, it forwards no output, and a full pipe would block the rank.
LONG = ["output.log_interval=100000", "training.steps=100000", "validation.interval=0", "validation.sample_interval=0", "checkpoint.interval=0"]
MESH = ["parallel.context_parallel=2"]


class StopsTest(RopewalkTest):
    def stop(self, send, mpirun=()):
        job = self.train(2, *MESH, *LONG, mpirun=mpirun)
        self.wait_for_step(3, job)
        send(job)
        code, output = self.finish(job, timeout=30)
        last = self.metrics()[-1]["step"]
        self.assertTrue(self.checkpoint(last).is_dir(), output)  # of the step at which it stopped
        self.assertIn(f"saved a checkpoint after step {last}", output)
        return code, output

    def test_usr1_to_mpirun(self):
        code, output = self.stop(lambda job: job.send_signal(signal.SIGUSR1))
        self.assertEqual(code, 85, output)

    def test_term_to_mpirun(self):
        # mpirun forwards a SIGTERM after this many seconds (default: 1), sends SIGKILL after as many more, and always returns 1.
        code, output = self.stop(lambda job: job.send_signal(signal.SIGTERM), ("--mca", "odls_base_sigkill_timeout", "5"))
        self.assertNotEqual(code, 0, output)

    def test_term_to_one_rank(self):
        code, output = self.stop(lambda job: os.kill(self.rank_pids(job)[1], signal.SIGTERM))
        self.assertEqual(code, 85, output)

    def test_hang_up_of_one_rank(self):
        code, output = self.stop(lambda job: os.kill(self.rank_pids(job)[1], signal.SIGHUP))
        self.assertEqual(code, 85, output)

    def test_hang_up_without_mpirun(self):
        job = self.train(0, *LONG)
        self.wait_for_step(3, job)
        job.send_signal(signal.SIGHUP)
        job.send_signal(signal.SIGHUP)  # a shell and its terminal may each send one
        code, output = self.finish(job, timeout=30)
        self.assertEqual(code, 85, output)
        self.assertTrue(self.checkpoint(self.metrics()[-1]["step"]).is_dir(), output)

    def test_output_that_nobody_reads(self):
        """The reader of the output is gone, like a closed terminal or `tee`: the run continues to its end."""
        words = ["train", "config.textproto", "--set", "training.steps=40"]
        job = subprocess.Popen([ROPEWALK, *words], cwd=self.directory, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        job.stdout.readline()
        job.stdout.close()
        self.assertEqual(job.wait(60), 0)
        self.assertEqual(self.metrics()[-1]["step"], 40)

    def test_before_the_first_step(self):
        job = self.train(2, *MESH, *LONG)
        end = time.time() + 30
        while len(self.rank_pids(job)) < 2 and time.time() < end:
            time.sleep(0.01)
        time.sleep(0.5)
        job.send_signal(signal.SIGUSR1)
        code, output = self.finish(job, timeout=30)
        self.assertIn(code, (85, -signal.SIGUSR1, 128 + signal.SIGUSR1), output)  # before the handler is installed, the signal has its default effect


if __name__ == "__main__":
    unittest.main(verbosity=2)
