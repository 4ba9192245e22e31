"""The GPU report without PyTorch, on the CPU: the part `rates` works, and other parts report that they need torch."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

REPORT = pathlib.Path(__file__).with_name("device_report.py")


def report(folder, *parts):
    words = [sys.executable, str(REPORT), sys.argv[1], "--device", "cpu", "--small", "--pairs", "2", "--json", str(folder / "figures.json"), "--parts"]
    return subprocess.run([*words, *parts], capture_output=True, text=True, timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(folder)})


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    (folder / "torch.py").write_text("raise ImportError('hidden by a test')\n")
    done = report(folder, "rates")
    if done.returncode:
        sys.exit(f"code {done.returncode}: {done.stdout}{done.stderr}")
    figures = json.loads((folder / "figures.json").read_text())["figures"]
    if len(figures) != 12 or not all(figure["value"] > 0 for figure in figures):
        sys.exit(f"{len(figures)} figures: {figures}\n{done.stdout}")
    done = report(folder, "rates", "memory")
    if done.returncode != 1 or "needs torch" not in done.stderr:
        sys.exit(f"the part memory without torch: code {done.returncode}, {done.stderr}")
print("12 rates without torch")
