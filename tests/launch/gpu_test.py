"""The program on the GPUs of this host."""
import sys

from gpu_tests import run_on
from gpus import gpus_here

if gpus_here() == 0:
    print("skipped: no CUDA device here")
    sys.exit(77)
sys.exit(run_on(gpus=gpus_here(), name="NVIDIA", steps=60, nccl=True))
