"""Checks the compiled code of attention's kernels for sm_90a against the limits below.

    sass_test.py [--table] NVCC OBJECT:OBJECT...

A kernel's main loop is the innermost loop with the most tensor-core instructions. Only conditional backward branches
count as the end of a loop: the code that waits again at a barrier is placed after the kernel, and branches back
unconditionally. A loop's cost is its number of instructions per tensor-core instruction, including those that run
only at edges and in rare cases. (The table's shared memory is what the compiler allocates; an object does not contain
the dynamic shared memory of a launch.) Exits with 77, so that the test is skipped, if there is nothing to disassemble
or no disassembler: cuobjdump and nvdisasm come with CUDA's toolkit, and as the wheels nvidia-cuda-cuobjdump and
nvidia-cuda-nvdisasm."""
import glob
import os
import re
import shutil
import subprocess
import sys

# By the beginning of a kernel's name: the limits of its main loop's cost and of its stack in bytes. A tensor-core
# instruction is one warp's m16n8k16 in the portable form, and four warps' m64nNk16 in the Hopper form. The loop of the
# Hopper backward contains the code for unmasked and for masked tiles; each tile runs one of them.
LIMITS = {
    "attention_forward_kernel<64>": (7.0, 0),
    "attention_forward_kernel<128>": (4.6, 0),
    "query_gradient_kernel<64>": (4.9, 0),
    "query_gradient_kernel<128>": (3.3, 0),
    "key_gradient_kernel<64, false>": (6.0, 0),
    "key_gradient_kernel<64, true>": (7.6, 0),
    "key_gradient_kernel<128, false>": (4.0, 8),
    "key_gradient_kernel<128, true>": (4.9, 0),
    "hopper_forward_kernel<Cut<64": (55, 0),
    "hopper_forward_kernel<Cut<128": (45, 24),
    "hopper_backward_kernel<64>": (25, 0),
    "hopper_backward_kernel<128>": (17.5, 0),
    "delta_kernel<": (0, 0),
}
SKIPPED = 77
ARCHITECTURE = "sm_90a"


def folder_of_disassembler(nvcc):
    """Looks beside nvcc, on the path, and where Python's wheels install it."""
    sites = sys.path + glob.glob(os.path.expanduser("~/.local/lib/python3*/site-packages"))
    wheels = [folder for site in sites for folder in glob.glob(f"{site}/nvidia/cu*/bin")]
    for folder in [os.path.dirname(os.path.realpath(nvcc)), *os.environ["PATH"].split(os.pathsep), *wheels]:
        if all(shutil.which(tool, path=folder) for tool in ("cuobjdump", "nvdisasm")):
            return folder
    return None


def cuobjdump(folder, option, path):
    environment = {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"]}
    words = ["cuobjdump", "-arch", ARCHITECTURE, option, path]
    return subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout.splitlines()


def short_names(mangled):
    """Maps each name to the one that c++filt gives, without namespaces and parameters."""
    text = subprocess.run(["c++filt"], input="\n".join(mangled), capture_output=True, text=True, check=True).stdout
    plain = [re.sub(r"^void |ropewalk::cuda::|\(anonymous namespace\)::", "", line) for line in text.splitlines()]
    return {name: line.split("(")[0] for name, line in zip(mangled, plain)}


def resources(lines):
    """Per kernel: {"REG": 255, "STACK": 0, "SHARED": 1024, ...}."""
    found, kernel = {}, None
    for line in lines:
        if match := re.match(r"\s*Function (\S+):", line):
            kernel = match[1]
        elif kernel and "REG:" in line:
            found[kernel] = {name: int(number) for name, number in re.findall(r"(\w+):(\d+)", line)}
    return found


def instructions(lines):
    """Per kernel: (address, text) of each instruction."""
    found, code = {}, None
    for line in lines:
        if match := re.search(r"Function : (\S+)", line):
            code = found.setdefault(match[1], [])
        elif code is not None and (match := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line)):
            code.append((int(match[1], 16), match[2]))
    return found


def is_product(text):
    return re.search(r"\bHG?MMA\b", text) is not None


def main_loop(code):
    """(number of instructions, number of tensor-core instructions) of the main loop."""
    loops = []
    for address, text in code:
        match = re.match(r"@!?U?P\w+ BRA\b.*\b0x([0-9a-f]+)", text)
        if match and int(match[1], 16) <= address:
            loop = range(int(match[1], 16), address + 1)
            texts = [text for at, text in code if at in loop]
            if products := sum(map(is_product, texts)):
                loops.append((loop, len(texts), products))
    innermost = [loop for loop in loops
                 if not any(other[0] != loop[0] and other[0].start >= loop[0].start and other[0].stop <= loop[0].stop
                            for other in loops)]
    return max(((length, products) for _, length, products in innermost), key=lambda loop: loop[1], default=(0, 0))


def measures(objects, folder):
    """Per kernel: (name, resources, spill instructions, instructions and tensor-core instructions of the main loop)."""
    found = []
    for path in objects:
        used = resources(cuobjdump(folder, "-res-usage", path))
        codes = instructions(cuobjdump(folder, "-sass", path))
        names = short_names(list(codes))
        for mangled, code in codes.items():
            spills = sum(re.search(r"\b(LDL|STL)\b", text) is not None for _, text in code)
            found.append((names[mangled], used[mangled], spills, *main_loop(code)))
    return sorted(found, key=lambda entry: entry[0])


def limits_of(name):
    return next((limits for begin, limits in LIMITS.items() if name.startswith(begin)), None)


def print_table(kernels):
    line = "{:52} {:>9} {:>6} {:>6} {:>6} {:>6} {:>8} {:>6} {:>6}"
    print(line.format("kernel", "registers", "stack", "spills", "shared", "loop", "products", "cost", "limit"))
    for name, used, spills, length, products in kernels:
        cost, limit = (f"{length / products:.2f}", (limits_of(name) or ("",))[0]) if products else ("", "")
        print(line.format(name, used["REG"], used["STACK"], spills, used["SHARED"], length, products, cost, limit))


def faults(kernels):
    names = [kernel[0] for kernel in kernels]
    found = [f"no kernel is named {begin}..." for begin in LIMITS if not any(name.startswith(begin) for name in names)]
    for name, used, spills, length, products in kernels:
        if not limits_of(name):
            found.append(f"{name} has no limits here")
            continue
        cost, stack = limits_of(name)
        if used["STACK"] > stack or (spills and not stack):
            found.append(f"{name} has {used['STACK']} bytes of stack and {spills} spill instructions; the limit is {stack}")
        if length > cost * products:
            found.append(f"{name} has {length / products:.2f} instructions per tensor-core instruction; the limit is {cost}")
    return found


def main(words):
    if {"-h", "--help"} & set(words):
        print(__doc__)
        return 0
    table = "--table" in words
    words = [word for word in words if word != "--table"]
    if len(words) < 2:
        print("the kernels are not compiled for devices here")
        return SKIPPED
    folder = folder_of_disassembler(words[0])
    if not folder:
        print("found no cuobjdump with nvdisasm beside nvcc, on the path or in Python's wheels")
        return SKIPPED
    kernels = measures(words[1].split(":"), folder)
    if not kernels:
        print(f"the objects have no code for {ARCHITECTURE}")
        return SKIPPED
    if table:
        print_table(kernels)
    found = faults(kernels)
    print("\n".join(found) or "all kernels are within their limits")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
