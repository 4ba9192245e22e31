"""What gpu_test.py asks of a GPU, of the emulated device: a module in the place of the real one, which LD_LIBRARY_PATH names."""
import sys

from gpu_tests import run_on

sys.exit(run_on(gpus=1, name="emulated device", steps=4, nccl=False))
