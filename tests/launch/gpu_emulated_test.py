"""The tests of gpu_test.py on the emulated device: LD_LIBRARY_PATH names a folder with its module in place of the real CUDA backend."""
import sys

from gpu_tests import run_on

sys.exit(run_on(gpus=1, name="emulated device", steps=4, nccl=False))
