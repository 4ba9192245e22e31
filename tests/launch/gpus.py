"""The number of devices that CUDA can use on this host. As a program, it prints the number and exits with 1 if it is 0."""
import ctypes
import pathlib
import subprocess
import sys

NO_DEVICE, OLD_DRIVER = 100, 35  # error codes of CUDA


def runtime():
    """CUDA's runtime library: the GPU bundle's (launch/bundle_gpu.sh), else the host's; None if neither is found."""
    for name in (pathlib.Path(__file__).parents[2] / "lib/cuda/libcudart.so.13", "libcudart.so.13"):
        try:
            return ctypes.CDLL(str(name))
        except OSError:
            pass
    return None


def gpus_here():
    """Counts the devices by CUDA's runtime, or by nvidia-smi if the runtime is not found. Raises RuntimeError if devices exist but are unusable."""
    library = runtime()
    if library:
        count = ctypes.c_int()
        code = library.cudaGetDeviceCount(ctypes.byref(count))
        if code not in (0, NO_DEVICE, OLD_DRIVER):
            raise RuntimeError(f"cannot count the CUDA devices: code {code}")
        return count.value if code == 0 else 0
    try:
        return subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout.count("GPU ")
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.exit(print(__doc__))
    here = gpus_here()
    print(f"{here} CUDA devices")
    sys.exit(here == 0)
