"""How many devices CUDA can use on this host; as a program it prints that, and ends with 1 where there are none."""
import ctypes
import pathlib
import subprocess
import sys

NO_DEVICE, OLD_DRIVER = 100, 35  # CUDA's codes


def runtime():
    """CUDA's runtime library: that of the archive (launch/bundle_gpu.sh), else the host's; None: there is none."""
    for name in (pathlib.Path(__file__).parents[2] / "lib/cuda/libcudart.so.13", "libcudart.so.13"):
        try:
            return ctypes.CDLL(str(name))
        except OSError:
            pass
    return None


def gpus_here():
    """A host that has devices and cannot use them is an error. Where CUDA's runtime is not found, the driver's tool counts."""
    library = runtime()
    if library:
        count = ctypes.c_int()
        code = library.cudaGetDeviceCount(ctypes.byref(count))
        if code not in (0, NO_DEVICE, OLD_DRIVER):
            raise RuntimeError(f"looking for CUDA devices: code {code}")
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
