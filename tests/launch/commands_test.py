"""Every command that a document or `--help` shows works.

    commands_test.py PROGRAM ROOT MPIRUN... [-v]      with AS_NOBODY=1 in root's environment, commands are run by the user nobody

Commands are found, not listed: those of all fenced `sh` blocks, of indented blocks, of code in a line, and of the examples in the program's
help. Every verb must have an example, and every page of the guide a command that is run or marked. A command has one of these fates, which -v
prints and BUILD/tests/launch/commands.txt keeps:

  run      as it stands, in a scratch folder that looks like the source tree with a build; blocks share the folder, in order. A training run
           that is not done after some seconds and a step gets SIGUSR1, and must end with 85; not one that shows a small training.steps. A
           comment `exit code N` in the command says how it ends, if not with 0.
  cluster  it stands below the mark `# needs ...` in its block: options and names are checked, nothing is run.
  long     it installs, clones, builds, tests or measures, which is known by its name: checked in the same way.
  inline   code in a line of text, which may have placeholders: checked in the same way.

Checked are: options of ropewalk's verbs and of scripts, by their --help; fields after --set, by the schema, and with the configuration if there
is one; options of mpirun by its help and MCA parameters, also in text, by ompi_info; options of Slurm's programs and of others that start a command,
by a list here; presets of CMake, tests of ctest, targets of ninja; files that are named.
"""
import atexit
import functools
import itertools
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time

VERBOSE = "-v" in sys.argv
if VERBOSE:
    sys.argv.remove("-v")
from hugging_face import write_model  # noqa: E402
from program import PROGRAM, ROOT  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or pathlib.Path(PROGRAM).parent)
SECONDS_OF_A_RUN, STEPS_OF_A_RUN = 3, 40  # training that takes longer is asked to stop; that has no more steps is left alone
PATIENCE = 120
AS_USER = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.environ.get("AS_NOBODY") else []

GUIDE = ROOT / "launch/guide"
# What the examples of --help take to be the user's own.
BOOK = "".join(f"{i}. In the beginning was the word, and the word was short; then came line {i * i}.\n" for i in range(4000))
YOURS = {"book.txt": BOOK, "poems.txt": "first\n\nsecond\n", "notes/a.txt": "a note\n", "more.jsonl": '{"body": "one"}\n{"body": "two"}\n',
         "big.jsonl": '{"text": "one"}\n',
         "my.textproto": (ROOT / "configs/rnope_swa.textproto").read_text().replace("batch: 4", "batch: 16")}

MARK = re.compile(r"^\s*# needs ([\w /-]+)$")
LONG = {"git", "cmake", "ctest", "ninja", "apt-get", "pip", "docker"}
SHELL = {"cd", "printf", "echo", "cat", "gzip", "zcat", "less", "grep", "tail", "head", "tar", "xz", "cp", "mkdir", "ls", "diff", "python3"}
# They run another command, which is found among their words; the options that the documents give them.
AROUND = {"srun": {"--mpi", "-n", "-n1"}, "salloc": {"--ntasks"}, "sbatch": {"--nodes", "--ntasks-per-node", "--time", "--signal"}, "nsys": {"-t"},
          "unshare": {"--map-root-user", "--net"}, "timeout": {"--preserve-status", "--signal", "--kill-after"}, "env": {"--unset"},
          "nohup": set(), "time": set(), "sudo": set(), "exec": set(), "setpriv": set(), "ssh": set()}
OTHERS = {"tensorboard", "scontrol", "squeue", "apt-cache", "ip", "orted"}
PROGRAMS = {"ropewalk", "ropewalk_benchmark", "mpirun"} | LONG
OPTIONS_OF_CMAKE = {"--preset", "--build", "--install", "--prefix", "--target", "-j"}
OPTIONS_OF_CTEST = {"--preset", "--test-dir", "-R", "-L", "--label-regex", "--output-on-failure", "-j", "--parallel", "-N", "-V"}
VALUES_OF_MPIRUN = {"-n": 1, "-np": 1, "--hostfile": 1, "--host": 1, "--map-by": 1, "--bind-to": 1, "--mca": 2, "-x": 1, "--cpu-set": 1,
                    "--allow-run-as-root": 0, "--oversubscribe": 0, "--quiet": 0}
IN_ARCHIVE = {"ropewalk_gpu/run.sh": "launch/run_gpu_bundle.sh"}


class Wrong(Exception):
    """What is wrong with a command."""


def out_of(*words, **options):
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL, **options)
    return done.returncode, done.stdout + done.stderr


# Finding commands.

def is_command(line):
    """A simple command of the line begins with a program of ours, or one that the documents use, after assignments and programs around it."""
    try:
        parts = parts_of(line.strip().removeprefix("$ "))
    except ValueError:  # text with a single quote
        return False
    return any(is_start(words) for words in parts)


def is_start(words):
    name = words[0].split("/")[-1]
    if name in AROUND:
        return len(words) > 1 and (name not in ("time", "exec", "sudo") or any(is_start([word]) for word in words[1:]))
    return is_script(words[0]) or name in PROGRAMS or (name in {"python3", "bash"} and len(words) > 1)


def is_script(word):
    return re.fullmatch(r"(\./)?(launch|tests|ropewalk_gpu)/[\w./-]+\.(sh|py|sbatch)", word) is not None


def is_complete(text):
    """A shell would not wait for another line."""
    if text.endswith("\\"):
        return False
    code, said = out_of("bash", "-n", "-c", text)
    return code == 0 and "here-document" not in said


def commands_of(lines):
    """(command, what it needs) for each command in the lines of a block."""
    found, text, needs = [], "", ""
    for line in lines:
        mark = MARK.match(line)
        if not text and mark:
            needs = mark[1]
            continue
        text = f"{text}\n{line}" if text else line
        if not text.strip() or (text.lstrip().startswith("#") and "\n" not in text):
            text = ""
        elif is_complete(text):
            found.append((text.removeprefix("$ "), needs))
            text = ""
    if text:
        raise Wrong(f"a command has no end: {text}")
    return found


def commands_in(document):
    """(kind, command, needs) for a document of Markdown: kind is block or inline."""
    blocks, prose, fence, block, indent = [], [], None, [], 0
    lines = document.read_text().splitlines()
    for number, line in enumerate([*lines, ""]):
        if line.lstrip().startswith("~~~"):
            raise Wrong(f"{document}: a block begins with ~~~, not with ```")
        if line.lstrip().startswith("```"):
            if fence is None:
                fence, block, indent = line.strip().strip("`"), [], len(line) - len(line.lstrip())
            else:
                blocks.append((fence, block))
                fence, block = None, []
        elif fence is not None:
            block.append(line[indent:] if not line[:indent].strip() else line)
        elif line.startswith("    ") and (block or number == 0 or not lines[number - 1].strip()):
            block.append(line[4:])
        elif block and not line.strip() and number + 1 < len(lines) and lines[number + 1].startswith("    "):
            block.append("")
        else:
            if block:
                blocks.append(("indented", block))
            block = []
            prose.append(line)
    if fence is not None:
        raise Wrong(f"{document}: a block has no end")
    for language, block in blocks:
        if language == "sh" or (language == "indented" and any(is_command(line) for line in block)):
            yield from (("block", command, needs) for command, needs in commands_of(block))
        elif language != "indented" and any(is_command(line) for line in block):
            raise Wrong(f"{document}: commands stand in a block marked '{language}', not 'sh': {block}")
    for code in re.findall(r"`([^`]+)`", "\n".join(prose)):
        code = " ".join(code.split())
        if " " in code and is_command(code) and not re.match(r"ropewalk [\d(]|cmake$", code):
            yield "inline", code, ""
        elif re.fullmatch(r"(--mca )?(btl|coll|mpi|odls|oob|plm|pml|rmaps)_\w+\*?( \w+)?", code):
            yield "inline", code, ""
        elif is_script(code) or re.fullmatch(r"configs/\w+\.textproto", code):
            yield "inline", code, ""


@functools.cache
def verbs():
    """In the order of the help, which is that of a first run."""
    listed = re.search(r"\nVerbs:\n((?:  .*\n)+)", out_of(PROGRAM, "help")[1])
    if not listed:
        raise Wrong("ropewalk help lists no verbs")
    return re.findall(r"^  (\w+(?: \w+)?)  ", listed[1], re.M)  # of one word or two


def examples_in(help_text):
    lines = re.split(r"\n(?:Examples|.*A first run.*):\n", help_text)
    return commands_of([line.removeprefix("  ") for line in lines[1].splitlines()]) if len(lines) > 1 else []


# Checking what is not run.

def parts_of(command):
    """The simple commands of a command, as words."""
    text = re.sub(r"<<-? *'?(\w+)'?\n.*?\n\1\s*$", "", command, flags=re.S | re.M).replace("\\\n", " ")
    reader = shlex.shlex(text, posix=True, punctuation_chars="();<>|&\n")
    reader.whitespace, reader.whitespace_split = " \t\r", True
    parts, words, skip = [], [], False
    for word in [*reader, ";"]:
        if skip:
            skip = False
        elif set(word) <= set(";|&\n()"):
            parts += [words] if words else []
            words = []
        elif set(word) <= set("<>&"):
            skip = True
        else:
            words.append(word)
    is_variable = re.compile(r"\w+=").match
    return [words for words in (list(itertools.dropwhile(is_variable, part)) for part in parts) if words]


@functools.cache
def help_of_verb(verb):
    code, said = out_of(PROGRAM, *verb.split(), "--help")
    if code:
        raise Wrong(f"ropewalk has no verb {verb}")
    return said


@functools.cache
def help_of_script(script):
    code, said = out_of("python3" if script.endswith(".py") else "bash", str(ROOT / script), "--help")
    if code:
        raise Wrong(f"{script} --help ends with {code}: {said}")
    return said


@functools.cache
def options_of_mpirun():
    environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    topics = ("general", "mapping", "binding", "launch", "output", "compatibility", "unsupported")
    said = "".join(out_of("mpirun", "--help", topic, env=environment)[1] for topic in topics)
    return set(re.findall(r"(?<![\w-])(--?[a-z][\w-]*)", said))


@functools.cache
def parameters_of_mpi():
    return set(re.findall(r":param:(\w+):", out_of("ompi_info", "--all", "--parsable", "--level", "9")[1]))


@functools.cache
def fields():
    return set(re.findall(r"(\w+) = \d+", out_of(PROGRAM, "schema")[1]))


def is_placeholder(word):
    return "..." in word or re.fullmatch(r"[A-Z][A-Z_,/.=]*\]?|<.*>|\[.*", word) is not None


def check_ropewalk(words, ranks):
    if not words or words[0] in ("help", "--version", "--help", "version") or is_placeholder(words[0]):
        return
    verb = next((verb for verb in verbs() if verb.split() == words[:len(verb.split())]), words[0])
    known = help_of_verb(verb)
    settings = []
    for number, word in enumerate(words[1:], 1):
        if word.startswith("--") and not re.search(rf"{re.escape(word.split('=')[0])}\b", known):
            raise Wrong(f"ropewalk {verb} has no option {word}")
        if word == "--set" and number + 1 < len(words) and not is_placeholder(words[number + 1]):
            settings.append(words[number + 1])
    for setting in settings:
        unknown = [name for name in setting.split("=")[0].split(".") if not name.isdigit() and name not in fields()]
        if unknown or "=" not in setting:
            raise Wrong(f"--set {setting}: no such field")
    config = next((word for word in words[1:] if re.fullmatch(r"configs/\w+\.textproto", word)), None)
    if config and verb in ("train", "evaluate", "plan", "validate"):
        check_file(config)
        mesh = ["--ranks", str(ranks)] if ranks and verb == "train" else []
        if "start_from" in (ROOT / config).read_text():
            settings.append(f"training.start_from={imported_model()}")
        code, said = out_of(PROGRAM, "validate", config, *mesh, *(word for setting in settings for word in ("--set", setting)), cwd=ROOT)
        if code:
            raise Wrong(said)


@functools.cache
def imported_model():
    """A checkpoint in place of the user's model, of a shape that large meshes can split."""
    place = tempfile.TemporaryDirectory()
    atexit.register(place.cleanup)
    model, checkpoint = pathlib.Path(place.name) / "model", pathlib.Path(place.name) / "checkpoint"
    write_model(model, width=512, hidden=512, num_attention_heads=8, num_key_value_heads=8)
    code, said = out_of(PROGRAM, "import", model, "--output", checkpoint)
    if code:
        raise Wrong(said)
    return checkpoint


def check_file(name):
    if not (ROOT / name).exists():
        raise Wrong(f"there is no {name}")


def check_mpirun(words):
    ranks, at = None, 1
    while at < len(words) and words[at].startswith("-"):
        option = words[at]
        if option not in VALUES_OF_MPIRUN or option not in options_of_mpirun():
            raise Wrong(f"mpirun has no option {option} (or this test does not know it)")
        if option == "--mca" and at + 1 < len(words) and words[at + 1] not in parameters_of_mpi() | {"btl"}:
            raise Wrong(f"Open MPI has no parameter {words[at + 1]}")
        if option in ("-n", "-np") and at + 1 < len(words) and words[at + 1].isdigit():
            ranks = int(words[at + 1])
        at += 1 + VALUES_OF_MPIRUN[option]
    if at < len(words) and not is_placeholder(words[at]):
        check_part(words[at:], ranks)


def check_parameter(name):
    """A parameter of Open MPI, or the beginning of some: NAME*."""
    if not any(known == name or (name.endswith("*") and known.startswith(name[:-1])) for known in parameters_of_mpi()):
        raise Wrong(f"Open MPI has no parameter {name}")


def check_options(words, known):
    for word in words[1:]:
        if word.startswith("-") and word.split("=")[0] not in known and not re.match(r"-D\w|-j\d*$", word):
            raise Wrong(f"{words[0]} has no option {word} (or this test does not know it)")


def check_cmake(words):
    check_options(words, OPTIONS_OF_CMAKE)
    presets = (ROOT / "CMakePresets.json").read_text()
    sources = "".join((ROOT / name).read_text() for name in ("CMakeLists.txt", "kernels/cuda/toolkit.cmake"))
    for before, word in zip(words, words[1:]):
        if before == "--preset" and f'"name": "{word}"' not in presets:
            raise Wrong(f"CMake has no preset {word}")
        if word.startswith("-DROPEWALK_") and not re.search(rf"\b{word[2:].split('=')[0]}\b", sources):
            raise Wrong(f"CMake has no variable {word}")


def check_ctest(words):
    check_options(words, OPTIONS_OF_CTEST)
    selection = [word for before, word in zip(words, words[1:]) if word in ("-R", "-L", "--label-regex") or before in ("-R", "-L", "--label-regex")]
    said = out_of("ctest", "--test-dir", str(BUILD), "-N", *selection)[1]
    if (BUILD / "CTestTestfile.cmake").exists() and "Total Tests: 0" in said:
        raise Wrong(f"no test is called so: {words}")


def check_ninja(words):
    targets = [word for before, word in zip(words, words[1:]) if not word.startswith("-") and before not in ("-C", "-j")]
    code, said = out_of("ninja", "-C", str(BUILD), "-t", "query", *targets) if targets and (BUILD / "build.ninja").exists() else (0, "")
    if code:
        raise Wrong(said)


def check_script(script, words, ranks=None):
    script = IN_ARCHIVE.get(script, script).removeprefix("./")
    check_file(script)
    known = help_of_script(script) if any(word.startswith("-") for word in words) else ""
    if "/slurm." in script:
        return check_ropewalk(["train", *words], ranks)
    for word in words:
        if word.startswith("--") and not re.search(rf"{re.escape(word.split('=')[0])}\b", known):
            raise Wrong(f"{script} has no option {word}")
    return None


def check_part(words, ranks=None, is_inline=False):
    name = words[0].split("/")[-1]
    if name == "ropewalk":
        check_ropewalk(words[1:], ranks)
    elif name == "mpirun":
        check_mpirun(words)
    elif name in ("cmake", "ctest", "ninja"):
        {"cmake": check_cmake, "ctest": check_ctest, "ninja": check_ninja}[name](words)
    elif is_script(words[0]):
        check_script(words[0], words[1:])
    elif name in ("python3", "bash") and len(words) > 1 and is_script(words[1]):
        check_script(words[1], words[2:])
    elif name == "ropewalk_benchmark":
        known = re.findall(r'add\("(\w+)"', (ROOT / "tests/benchmark/main.cpp").read_text())
        check_options(words, {f"--{option}" for option in known})
    elif name in ("sh", "bash") and len(words) > 2 and words[1] == "-c":
        check(words[2])
    elif name in AROUND:
        programs = PROGRAMS | OTHERS | {"slurm.sbatch", "sh", "bash"}
        inner = next((i for i, word in enumerate(words[1:], 1) if word.split("/")[-1] in programs or is_script(word)), None)
        check_options(words[:inner], AROUND[name])
        if not inner and not (is_inline and name == "srun"):  # text may name an option of srun
            raise Wrong(f"{name} starts no program that this test knows")
        if name == "srun" and "-n" in words[:-1]:
            ranks = int(words[words.index("-n") + 1])
        if inner and words[inner].endswith("slurm.sbatch"):
            each = {before: int(word) for before, word in re.findall(r"--(nodes|ntasks-per-node)=(\d+)", " ".join(words))}
            check_script("launch/slurm.sbatch", words[inner + 1:], each.get("nodes", 2) * each.get("ntasks-per-node", 8) if each else None)
        elif inner:
            check_part(words[inner:], ranks)
    elif re.fullmatch(r"configs/\w+\.textproto", words[0]):
        check_file(words[0])
    elif is_inline and (words[0] == "--mca" or "_" in words[0]):
        check_parameter(words[words[0] == "--mca"])
    elif name not in LONG | SHELL | OTHERS:
        raise Wrong(f"'{words[0]}' is neither run nor known to this test")


def check(command, is_inline=False):
    for words in parts_of(command):
        check_part(words, is_inline=is_inline)


# Running.

def is_long(command):
    return any(words[0].split("/")[-1] in LONG or (words[0].startswith("launch/") and words[0] != "launch/plot.sh") or
               any(is_script(word) and word.startswith("tests/") for word in words[:2]) for words in parts_of(command))


def processes_of(session):
    """Process id -> name, without zombies."""
    found = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            name, rest = re.search(r"\((.*)\) (.*)", stat.read_text()).groups()
        except (OSError, AttributeError):
            continue
        state, *numbers = rest.split()
        if state != "Z" and int(numbers[2]) == session:
            found[int(stat.parent.name)] = name
    return found


def job_in(session):
    """The process of a session that a signal reaches all ranks by: mpirun, or the only rank."""
    found = {name: process for process, name in processes_of(session).items()}
    return found.get("mpirun") or found.get("ropewalk")


def end(job):
    """Ends the session of a job: ranks have process groups of their own."""
    last = time.time() + 10
    while (left := processes_of(job.pid)) and time.time() < last:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)
    job.wait(10)


def a_step_is_done_since(folder, began):
    return any(file.stat().st_mtime >= began and file.stat().st_size for file in folder.glob("runs/*/metrics.jsonl"))


def run(command, folder):
    """How it ended; throws Wrong."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OMPI_", "PMIX_", "ROPEWALK"))}
    environment["PATH"] = f"{folder / 'bin'}:{environment['PATH']}"
    if AS_USER:
        environment["HOME"] = str(folder)
    expected = int((re.search(r"#.*exit code (\d+)", command) or [0, 0])[1])
    steps = re.search(r"training\.steps=(\d+)", command)
    is_endless = expected == 0 and " train " in command and "timeout " not in command and not (steps and int(steps[1]) <= STEPS_OF_A_RUN)
    began, asked = time.time(), False
    with open(folder.parent / "output", "w+", encoding="utf-8", errors="replace") as output:
        job = subprocess.Popen([*AS_USER, "bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                               stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while job.poll() is None:
                time.sleep(0.05)
                seconds = time.time() - began
                if is_endless and not asked and seconds > SECONDS_OF_A_RUN and a_step_is_done_since(folder, began):
                    rank = job_in(job.pid)
                    if rank:
                        os.kill(rank, signal.SIGUSR1)
                        asked = True
                if seconds > PATIENCE:
                    raise Wrong(f"it is not done after {PATIENCE} s")
        finally:
            end(job)
        output.seek(0)
        said = output.read()
    if job.returncode != expected and not (asked and job.returncode == 85):
        raise Wrong(f"it ends with {job.returncode}, not {expected}:\n{said[-3000:]}")
    return f"{time.time() - began:.1f} s" + (", stopped by SIGUSR1: 85" if job.returncode == 85 and asked else
                                             f", {expected} as it says" if expected else "")


def scratch(folder):
    """What a newcomer has: the source tree, and the program built in it."""
    top = folder / "tree"
    (top / "build/release").mkdir(parents=True)
    for entry in ROOT.resolve().iterdir():
        if entry.name not in ("build", "runs", "data", ".git"):
            (top / entry.name).symlink_to(entry)
    (top / "bin").mkdir()
    for place in ("build/release", "bin"):
        (top / place / "ropewalk").symlink_to(PROGRAM)
    if AS_USER:
        for path in (folder, top, top / "build", top / "build/release"):
            path.chmod(0o777)
    return top


def documents():
    """Pages of the guide in the order of a first run: that of their index, after the page that prepares."""
    order = re.findall(r"\]\(([\w-]+\.md)\)", (GUIDE / "README.md").read_text())
    pages = list(dict.fromkeys([*order, *sorted(path.name for path in GUIDE.glob("*.md"))]))
    return [ROOT / "README.md", *(GUIDE / page for page in pages), *sorted(ROOT.glob("*/README.md")), ROOT / "CONTRIBUTING.md"]


def main():
    fates, failures = [], 0

    def treat(source, kind, command, needs, folder):
        nonlocal failures
        began = time.time()
        try:
            if kind == "inline":
                check(command, is_inline=True)
                fate, how = "inline", "checked"
            elif needs:
                check(command)
                fate, how = "cluster", f"checked; needs {needs}"
            elif is_long(command):
                check(command)
                fate, how = "long", "checked"
            else:
                fate, how = "run", run(command, folder)
        except (Wrong, ValueError) as error:
            failures += 1
            fate, how = "FAILED", f"{time.time() - began:.1f} s: {error}"
            print(f"FAILED  {source}: {command}\n{error}\n", flush=True)
        fates.append(f"{fate:8}{source}: {' '.join(command.split())[:240]}  [{how}]")
        if VERBOSE:
            print(fates[-1], flush=True)

    def fail(source, error):
        nonlocal failures
        failures += 1
        print(f"FAILED  {source}: {error}", flush=True)
        fates.append(f"FAILED  {source}: {error}")

    with tempfile.TemporaryDirectory() as place:
        folder = scratch(pathlib.Path(place))
        for document in documents():
            name = str(document.relative_to(ROOT))
            tried = sum(fate.startswith(("run ", "cluster ")) for fate in fates)
            try:
                for found in list(commands_in(document)):
                    treat(name, *found, folder)
            except Wrong as error:
                fail(name, error)
            if document.parent == GUIDE and document.name != "README.md" and sum(fate.startswith(("run ", "cluster ")) for fate in fates) == tried:
                fail(name, "no command is run or marked")
    with tempfile.TemporaryDirectory() as place:
        folder = scratch(pathlib.Path(place))
        for name, text in YOURS.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        subprocess.run(["gzip", folder / "big.jsonl"], check=True)
        write_model(folder / "models/c4ai-command-r7b-12-2024")  # which `ropewalk import --help` takes to be the user's
        (folder / "models").chmod(0o777)
        for verb in ["", *verbs()]:
            examples = examples_in(out_of(PROGRAM, *verb.split(), "--help")[1])
            if not examples:
                fail(f"ropewalk {verb} --help", "it has no examples")
            for command, needs in examples:
                treat(f"ropewalk {verb} --help".replace("  ", " "), "block", command, needs, folder)

    counts = {fate: sum(line.startswith(f"{fate} ") for line in fates) for fate in ("run", "cluster", "long", "inline", "FAILED")}
    summary = ", ".join(f"{count} {fate}" for fate, count in counts.items())
    listing = BUILD / "tests/launch/commands.txt"
    listing.parent.mkdir(parents=True, exist_ok=True)
    listing.write_text("\n".join([*fates, summary, ""]))
    print(f"{summary}; {listing}")
    return 1 if failures or not counts["run"] else 0


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(print(__doc__))
    sys.exit(main())
