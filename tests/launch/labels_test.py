"""Every test has one label for its cost, and one for each folder that it is in. The tests with the label gpu are those that bundle_gpu.sh
packs and run_gpu_bundle.sh runs."""
import json
import pathlib
import re
import subprocess
import sys

ROOT, BUILD, CTEST = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
COSTS = {"quick", "long"}
FOLDERS = {str(path.parent.relative_to(ROOT / "tests")) for path in (ROOT / "tests").glob("*/**/CMakeLists.txt")} - {"support"}

told = json.loads(subprocess.run([CTEST, "--test-dir", str(BUILD), "--show-only=json-v1"], capture_output=True, text=True, check=True).stdout)
graph = told["backtraceGraph"]


def folder_of(test):
    """The folder in tests/ of the CMakeLists.txt that registers the test."""
    node = graph["nodes"][test["backtrace"]]
    files = []
    while node:
        files.append(pathlib.Path(graph["files"][node["file"]]))
        node = graph["nodes"][node["parent"]] if "parent" in node else None
    inner = [file.parent.relative_to(ROOT / "tests") for file in files if file.is_relative_to(ROOT / "tests")]
    return max(inner, key=lambda folder: len(folder.parts))


wrong, seen, on_gpu = [], set(), set()
for test in told["tests"]:
    labels = {label for entry in test["properties"] if entry["name"] == "LABELS" for label in entry["value"]}
    folder = folder_of(test)
    expected = {str(folder), *(str(parent) for parent in folder.parents if parent.parts)}
    seen |= expected
    if "gpu" in labels:
        on_gpu.add(test["name"])
    if len(labels & COSTS) != 1 or labels - COSTS - {"gpu"} != expected:
        wrong.append(f"{test['name']} of {folder} has the labels {sorted(labels)}")
packed = {name.replace("${kind}", "device") for name in re.findall(r'[("]\S*/(\w+_\$\{kind\}_\w*test)"', (ROOT / "launch/bundle_gpu.sh").read_text())}
script = (ROOT / "launch/run_gpu_bundle.sh").read_text()
ran = {*re.findall(r"^ +suite (\w+)", script, re.MULTILINE), *re.findall(r"^ +program=(gpu_test)\.py", script, re.MULTILINE)}
if packed | {"gpu_test"} != ran:
    wrong.append(f"bundle_gpu.sh has the tests {sorted(packed)}, and run_gpu_bundle.sh runs {sorted(ran)}")
if on_gpu != (ran if any("_device_" in name for name in on_gpu) else {"gpu_test"}):  # a build without nvcc has only gpu_test
    wrong.append(f"tests with the label gpu are {sorted(on_gpu)}, and run_gpu_bundle.sh runs {sorted(ran)}")
print("\n".join(wrong) or f"{len(told['tests'])} tests in {len(seen)} folders")
sys.exit(1 if wrong or not seen <= FOLDERS else 0)
