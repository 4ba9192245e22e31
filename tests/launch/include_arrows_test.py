"""Include rules: which folder may include which, and which files may include which third-party headers. Also limits on the size of
files and folders, and the rule that the folders of tests mirror those of the sources."""
import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
FOLDERS = ["kernels", "parallel", "trainer", "launch"]  # each may include itself and those before it
# Subfolders of trainer/; each may include itself and those before it. Files directly in trainer/ are "the step" or "the loop".
ROOMS = ["text", "files", "formats", "tokenizer", "config", "metrics", "data", "model", "checkpoint", "conversion", "inference", "evaluation",
         "the step", "run", "the loop"]
MOST_LINES = 500
MOST_FILES = 12  # .h and .cpp files directly in each folder of SMALL; others belong in subfolders
SMALL = ["parallel", "trainer"]
# Folders in tests/ without a counterpart in the sources.
OF_NO_FOLDER = {"benchmark", "end_to_end", "equivalence", "kernels/mixed_precision", "mutation", "support"}
FACTORIES = {"parallel/cuda/module.cpp"}  # files that may use conditional compilation for optional libraries
# Other conditions that are allowed: on the processor, with a choice at run time; those that Highway needs to compile one file
# several times; and those on the target of device code (kernels/cuda/platform.h), or on the tool that checks it (hopper/barrier.h).
MACHINE = r"HWY|_INL_|__x86_64__|__CUDACC__|ROPEWALK_CUDA_EMULATED|ROPEWALK_CUDA_FOR_RACECHECK"

# Prefix of a header -> pattern of the files that may include it. Other third-party headers may be included anywhere.
FENCES = {
    "mpi": r"parallel/communicator/mpi_\w+\.cpp",
    "nccl": r"parallel/cuda/nccl_platform\.h",
    "cuda": r"kernels/cuda/.*",
    "cublas": r"kernels/cuda/.*",
    "nvtx3/": r"kernels/cuda/device/.*",
    "configs/": r"trainer/(config/.*|checkpoint/manifest|metrics/event_writer|data/chat_template).*\.cpp",  # generated from the schemas
    "google/protobuf/": r"trainer/(config/.*|checkpoint/manifest\.cpp|metrics/event_writer\.cpp)",
    "boost/": r".*\.cpp",
    "cub/": r"kernels/cuda/device/.*",
    "hwy/": r"kernels/cpu/.*",
    "nlohmann/": r".*\.cpp",
    "simdjson": r".*\.cpp",
    "pcre2": r"trainer/tokenizer/regex\.cpp",
    "unicode/": r"trainer/tokenizer/normalizer\.cpp",  # ICU
}


def room_of(path):
    """The subfolder of a file in trainer/, or its group if it is directly in trainer/."""
    parts = path.split("/")
    if len(parts) > 2:
        return parts[1]
    return "the loop" if parts[1].startswith("train_loop.") else "the step"


def problems_of(path, text):
    """The problems of the file `path` (relative to the root) with the contents `text`."""
    folder = path.split("/")[0]
    for number, line in enumerate(text.splitlines(), 1):
        found = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not found:
            continue
        place, (quote, header) = f"{path}:{number}", found.groups()
        first = header.split("/")[0]
        for prefix, allowed in FENCES.items():
            if header.startswith(prefix) and not re.fullmatch(allowed, path):
                yield f"{place}: only files that match {allowed} may include {header}"
        if quote == "<":
            continue
        if first == "configs":
            continue
        if first not in FOLDERS:
            yield f'{place}: "{header}" is not written from the root'
        elif FOLDERS.index(first) > FOLDERS.index(folder):
            yield f"{place}: {folder} may not include {first}"
        elif folder == first == "trainer" and room_of(path) not in ROOMS:
            yield f"{place}: {room_of(path)} is a new subfolder: add it to ROOMS"
        elif folder == first == "trainer" and ROOMS.index(room_of(header)) > ROOMS.index(room_of(path)):
            yield f"{place}: {room_of(path)} may not include {room_of(header)}"
        elif header.endswith(".cpp"):
            yield f"{place}: a source file is included"
    if len(text.splitlines()) > MOST_LINES:
        yield f"{path}: {len(text.splitlines())} lines; split it ({MOST_LINES} at most, 300 are good)"
    for number, line in enumerate(text.splitlines(), 1):
        if re.match(r"\s*#\s*if(n?def)?\b", line) and path not in FACTORIES and not re.search(MACHINE, line):
            yield f"{path}:{number}: conditional compilation outside the factory: {line.strip()}"


def problems_of_folders(paths):
    """The problems of where files are; paths: all files, relative to the root."""
    folders = {str(parent) for path in paths for parent in pathlib.PurePosixPath(path).parents}
    for folder in SMALL:
        files = [path for path in paths if re.fullmatch(rf"{folder}/[^/]+\.(h|cpp)", path)]
        if len(files) > MOST_FILES:
            yield f"{folder}/: {len(files)} files; move some to subfolders (at most {MOST_FILES} directly in it)"
    for path in paths:
        found = re.fullmatch(r"tests/((\w+)(?:/\w+)*)/\w+_test\.cpp", path)
        if found and not {found[1], found[2]} & OF_NO_FOLDER and found[1] not in folders:
            yield f"{path}: there is no {found[1]}/ to test; tests/ mirrors the source folders"


def check_the_checker():
    """Every rule reports a file that breaks it, and accepts valid files."""
    broken = {
        ("kernels/a.cpp", '#include "parallel/mesh.h"'): "kernels may not include parallel",
        ("parallel/a.h", '#include "trainer/trainer.h"'): "parallel may not include trainer",
        ("trainer/a.cpp", '#  include "launch/process/process.h"'): "trainer may not include launch",
        ("trainer/a.cpp", '#include "tests/support/models.h"'): "not written from the root",
        ("trainer/model/a.cpp", '#include "block.h"'): "not written from the root",
        ("trainer/model/a.cpp", '#include "trainer/inference/predictor.h"'): "model may not include inference",
        ("trainer/inference/a.cpp", '#include "trainer/trainer.h"'): "inference may not include the step",
        ("trainer/trainer.cpp", '#include "trainer/run/estimate.h"'): "the step may not include run",
        ("trainer/run/a.cpp", '#include "trainer/train_loop.h"'): "run may not include the loop",
        ("trainer/attic/a.cpp", '#include "trainer/text/format.h"'): "new subfolder",
        ("trainer/a.cpp", "#include <mpi.h>"): "may include mpi.h",
        ("kernels/cpu/a.cpp", "#include <cuda_runtime.h>"): "may include cuda_runtime.h",
        ("trainer/trainer.cpp", '#include "configs/ropewalk.pb.h"'): "may include configs/ropewalk.pb.h",
        ("launch/a.h", "#include <boost/program_options.hpp>"): "may include boost/program_options.hpp",
        ("trainer/a.cpp", '#include "trainer/b.cpp"'): "a source file is included",
        ("trainer/a.cpp", "int x;\n" * 501): "501 lines",
        ("trainer/a.cpp", "#ifdef ROPEWALK_CUDA"): "conditional compilation",
    }
    for (path, text), expected in broken.items():
        if not any(expected in problem for problem in problems_of(path, text)):
            yield f"the check does not see: {path}: {text[:40]!r}"
    roomy = [f"{folder}/{kind}/{i}.cpp" for folder in SMALL for kind in ("a", "b") for i in range(13)]
    full = [f"{folder}/{i}.{kind}" for folder in SMALL for i in range(6) for kind in ("h", "cpp")]
    apart = ["tests/equivalence/a_test.cpp", "tests/support/cuda/a_test.cpp", "tests/trainer/a/support.cpp"]
    layouts = [
        (roomy + full + ["trainer/CMakeLists.txt", "tests/trainer/a/b_test.cpp", "tests/parallel/c_test.cpp"] + apart, []),
        (full + ["parallel/6.h"], ["parallel/: 13 files"]),
        (full + ["trainer/6.cpp"], ["trainer/: 13 files"]),
        (full + ["tests/trainer/a/b_test.cpp"], ["there is no trainer/a/ to test"]),
        (full + ["tests/kernels/b_test.cpp"], ["there is no kernels/ to test"]),
    ]
    for paths, expected in layouts:
        found = list(problems_of_folders(paths))
        if len(found) != len(expected) or any(e not in f for e, f in zip(expected, found)):
            yield f"the check finds {found} where {expected} is wrong"


def main():
    problems = list(check_the_checker())
    files = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*")) if path.suffix in (".h", ".cpp", ".cu")]
    for file in files:
        problems += problems_of(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
    for file in sorted((ROOT / "tests").rglob("*")):
        if file.suffix in (".h", ".cpp") and len(file.read_text(encoding="utf-8").splitlines()) > MOST_LINES:
            problems.append(f"{file.relative_to(ROOT)}: more than {MOST_LINES} lines")
    everything = [path for folder in [*FOLDERS, "tests"] for path in sorted((ROOT / folder).rglob("*")) if path.is_file()]
    problems += problems_of_folders([str(path.relative_to(ROOT)) for path in everything])
    print("\n".join(problems) or f"{len(files)} files, no problem")
    return 1 if problems or len(files) < 50 else 0


if __name__ == "__main__":
    sys.exit(main())
