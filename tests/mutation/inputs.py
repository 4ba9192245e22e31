"""One class for each parser of the program: makes a mutated input, and has the commands that read it and the conditions that hold
if they exit with 0."""
import json
import pathlib
import re
import shutil
import struct
import sys

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from crc32c import crc32c, rewrite_manifest  # noqa: E402
from mutations import NUMBERS, change_number, mutated, mutated_word  # noqa: E402

CONFIG = """
model {
  layers: 2 width: 16 hidden: 24 query_heads: 2 key_heads: 1 head_size: 8 vocabulary: 257
  pattern { mask: SLIDING window: 5 position: ROPE theta: 10000 }
  pattern { mask: FULL position: NONE qk_norm: LAYER_NORM }
}
data { prefix: "text" sequence_length: 16 }
training { steps: 6 batch: 2 learning_rate: 1e-2 warmup_steps: 1 stages { first_step: 3 sequence_length: 24 theta: 5e5 } }
validation { interval: 2 samples: 2 sample_tokens: 4 sample_interval: 2 }
checkpoint { interval: 2 keep: 3 }
output { directory: "run" log_interval: 1 }
"""
LAST_STEP = 6
TRAIN = ["train", "config.textproto", "--plain"]


def make_baseline(folder, run):
    """Writes the files from which all inputs are made: text, data, a complete run, and a run without its last checkpoint. `run` runs the
    program with the given arguments."""
    lines = [json.dumps({"id": n, "text": f"line {n} of a rope walk, " * (1 + n % 7), "more": {"a": [n / 3, None, True]}}) for n in range(60)]
    (folder / "text.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "other.jsonl").write_text("\r\n".join(json.dumps({"text": f"\u00e9\U0001f642 {n}\n", "n": -n}) for n in range(30)))
    (folder / "book.txt").write_text("\n".join(f"line {n} of a book \u00e9\u6f22\n||" for n in range(60)))
    (folder / "other.txt").write_text("||\r\na \U0001f642 b\n||||\n" * 20)
    asked = [{"id": n / 7, "context": f"line {n} of", "continuation": " a rope\u00e9" * (1 + n % 3)} for n in range(6)]
    asked += [{"context_ids": [n, 256, 3], "continuation_ids": list(range(1 + n % 5)), "more": [{}]} for n in range(6)]
    (folder / "asked.jsonl").write_text("".join(json.dumps(one) + "\n" for one in asked))
    (folder / "config.textproto").write_text(CONFIG)
    run("prepare", "--input", "text.jsonl", "--output", "text")
    run("prepare", "--input", "other.jsonl", "book.txt", "--output", "other")
    run(*TRAIN, "--set", "output.directory=clean")
    shutil.copytree(folder / "clean", folder / "run")
    shutil.rmtree(folder / f"run/checkpoints/step-{LAST_STEP:08d}")


def last_tensors(run):
    """File name -> contents, of the tensor files after the last step; empty if there are none."""
    return {path.name: path.read_bytes() for path in (run / f"checkpoints/step-{LAST_STEP:08d}").glob("*.safetensors")}


class Input:
    """A mutated input in `folder`, a copy of the baseline. `commands`: lists of the program's arguments, run in order."""
    def __init__(self, draw, folder):
        self.folder = folder
        self.commands = []
        self.make(draw)

    def write(self, draw, name, *others):
        """Mutates the file in place; `others` are valid files of the same kind."""
        path = self.folder / name
        other = self.folder / draw.choice(others or (name,))
        path.write_bytes(mutated(draw, path.read_bytes(), other.read_bytes()))

    def problem(self, _codes):
        """A problem with the results of the commands, which ended with these exit codes; None if there is none."""
        return None


class ConfigurationText(Input):
    def make(self, draw):
        presets = sorted(pathlib.Path(__file__).parents[2].glob("configs/*.textproto"))
        chosen = draw.choice([self.folder / "config.textproto", *presets])
        change = change_number if draw.random() < 0.4 else mutated
        (self.folder / "mutated.textproto").write_bytes(change(draw, chosen.read_bytes(), draw.choice(presets).read_bytes()))
        ranks = ["--ranks", draw.choice(["1", "8", "64"])]
        self.commands = [draw.choice([["validate", "mutated.textproto"], ["validate", "mutated.textproto", "--print", *ranks],
                                      ["plan", "mutated.textproto", *ranks]])]


class CommandLine(Input):
    SETTINGS = re.findall(r"[a-z_]+(?=:)", CONFIG)
    GROUPS = ["model", "data", "training", "validation", "checkpoint", "output", "parallel", "optimizer", "model.pattern.0", "training.stages.0"]
    LINES = [["validate", "config.textproto", "--ranks", "2", "--set", "parallel.tensor_parallel=2"],
             ["plan", "config.textproto", "--mesh", "dp=1,cp=2,tp=1", "--json"],
             ["plan", "config.textproto", "--mesh", "dp=2", "--device-memory", "1MiB", "--ranks-per-host", "2"],
             ["plan", "config.textproto", "--search", "2", "--device", "cpu", "--links", "shm=5,net=0.125", "--json"],
             ["prepare", "--input", "text.jsonl", "other.jsonl", "--output", "new", "--format", "jsonl", "--json-key", "text"],
             ["prepare", "--input", "book.txt", "--output", "new", "--separator", "\\n||\\x41", "--tokenizer", "bytes", "--skip-bad-lines"],
             ["train", "config.textproto", "--plain", "--resume-from", "2"],
             ["evaluate", "config.textproto", "--json", "--step", "2", "--samples", "3"], ["schema"], ["help", "train"], ["--version"],
             ["evaluate", "--checkpoint", "run/checkpoints/step-00000004", "--requests", "asked.jsonl", "--output", "new", "--tokenizer", "bytes",
              "--mesh", "dp=1,cp=1", "--batch-tokens", "16", "--set", "model.logit_scale=2", "--overwrite"]]

    def make(self, draw):
        if draw.random() < 0.5:
            values = [draw.choice([*NUMBERS, "FULL", "NONE", "text", mutated_word(draw, "1e-2")]) for _ in range(draw.randint(1, 3))]
            sets = [f"{draw.choice(self.GROUPS)}.{draw.choice(self.SETTINGS)}={value}" for value in values]
            self.commands = [["validate", "config.textproto", *(word for one in sets for word in ("--set", one))]]
            return
        words = list(draw.choice(self.LINES))
        for _ in range(draw.choice([1, 1, 2])):
            at = draw.randrange(len(words))
            change = draw.choice(["mutate", "mutate", "drop", "repeat", "swap"])
            if change == "mutate":
                words[at] = mutated_word(draw, words[at])
            elif change == "drop" and len(words) > 1:
                words.pop(at)
            elif change == "repeat":
                words.insert(at, words[at])
            else:
                other = draw.randrange(len(words))
                words[at], words[other] = words[other], words[at]
        self.commands = [words]


class Tokenizer(Input):
    def make(self, draw):
        name = mutated_word(draw, "bytes")
        self.name = name
        self.commands = [["prepare", "--input", "book.txt", "--output", "new", f"--tokenizer={name}"],
                         ["validate", "config.textproto", "--set", f"data.tokenizer={name}"]]

    def problem(self, codes):
        return "an unknown tokenizer was accepted" if codes[0] == 0 and self.name != "bytes" else None


class PreparedInput(Input):
    """`documents`: the expected documents, a list of bytes; None: an error is expected."""
    def problem(self, codes):
        if codes[0] != 0:
            said = self.said[0]
            allowed = self.documents in (None, []) or " is " in said and "only UTF-8 text can be read" in said
            return None if allowed else f"valid input was refused: {len(self.documents)} documents"
        if self.documents is None:
            return "invalid input was accepted"
        expected = b"".join(struct.pack(f"<{len(text) + 1}H", *text, 256) for text in self.documents)
        return None if (self.folder / "new.bin").read_bytes() == expected else "the tokens are not those of the input"


class Text(PreparedInput):
    def make(self, draw):
        self.write(draw, "book.txt", "other.txt")
        separator, skip = draw.choice(["", "||", "\n||", "\n\n"]), draw.random() < 0.5
        words = [f"--separator={separator}".replace("\n", "\\n")] if separator else []
        self.commands = [["prepare", "--input", "book.txt", "--output", "new", *words, *(["--skip-bad-lines"] if skip else [])]]
        self.documents = self.expected((self.folder / "book.txt").read_bytes(), separator.encode(), skip)

    @staticmethod
    def expected(data, separator, skip):
        data = data.removeprefix(b"\xef\xbb\xbf")
        kept = bytearray()
        for line in re.findall(rb"[^\n]*\n|[^\n]+\Z", data):
            good = is_utf8(line)
            if not good and not skip:
                return None
            kept += bytes([good]) * len(line)
        documents, begin = [], 0
        while begin <= len(data):
            end = data.find(separator, begin) if separator else -1
            end = len(data) if end < 0 else end
            documents.append(bytes(byte for byte, good in zip(data[begin:end], kept[begin:end]) if good))
            begin = end + max(1, len(separator))
        return [document for document in documents if document]


class JsonLines(PreparedInput):
    def make(self, draw):
        self.write(draw, "text.jsonl", "other.jsonl")
        skip = draw.random() < 0.5
        self.commands = [["prepare", "--input", "text.jsonl", "--output", "new", *(["--skip-bad-lines"] if skip else [])]]
        self.documents = self.expected((self.folder / "text.jsonl").read_bytes(), skip)

    def problem(self, codes):
        return None if self.documents == "unknown" else super().problem(codes)

    @staticmethod
    def expected(data, skip):
        documents = []
        for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n"):
            if not line.strip(b" \t\r"):
                continue
            try:
                text = text_of(line)
            except RecursionError:
                return "unknown"
            if text is None and not skip:
                return None
            if text:
                documents.append(text)
        return documents


def is_utf8(data):
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def text_of(line):
    """The only string under "text", as bytes; None if there is not exactly one, or the line is not JSON."""
    def refuse(word):
        raise ValueError(word)

    try:
        members = json.loads(line.decode(), object_pairs_hook=list, parse_int=len, parse_float=len, parse_constant=refuse)
    except ValueError:
        return None
    if not line.strip(b" \t\r").startswith(b"{"):
        return None
    texts = [value for key, value in members if key == "text"]
    if len(texts) != 1 or not isinstance(texts[0], str):
        return None
    try:
        return texts[0].encode()
    except UnicodeEncodeError:
        return None  # half a surrogate pair


class Requests(Input):
    """`counts`: the expected numbers of log-probabilities; None: an error is expected."""
    def make(self, draw):
        self.write(draw, "asked.jsonl", "text.jsonl")
        self.commands = [["evaluate", "--checkpoint", "run/checkpoints/step-00000004", "--requests", "asked.jsonl", "--tokenizer", "bytes", "--output",
                          "scores.jsonl"]]
        lines = (self.folder / "asked.jsonl").read_bytes().removeprefix(b"\xef\xbb\xbf").split(b"\n")
        try:
            counts = [targets_of(line) for line in lines if line.strip(b" \t\r")]
            self.counts = None if None in counts or not counts else counts
        except RecursionError:
            self.counts = "unknown"

    def problem(self, codes):
        written = (self.folder / "scores.jsonl").exists()
        if written != (codes[0] == 0) or len(list(self.folder.glob("scores*"))) != written:
            return "the output does not fit the exit code"
        if self.counts == "unknown":
            return None
        if codes[0] != 0:
            return None if self.counts is None or "only UTF-8 text can be read" in self.said[0] else f"valid requests were refused: {self.counts}"
        answers = [json.loads(line) for line in (self.folder / "scores.jsonl").read_text().splitlines()]
        return None if [len(answer["token_logprobs"]) for answer in answers] == self.counts else f"not the answers of {self.counts}"


def targets_of(line):
    """The number of tokens of a request's continuation; None if the line is no request. The vocabulary has 257 tokens."""
    def refuse(word):
        raise ValueError(word)

    names = ("context", "continuation", "context_ids", "continuation_ids")
    try:  # objects are tuples of pairs, lists are lists
        members = json.loads(line.decode(), object_pairs_hook=tuple, parse_int=lambda word: int(word) if len(word) < 19 else None,
                             parse_float=lambda word: None, parse_constant=refuse)
        found = {key: value for key, value in members if key in names} if isinstance(members, tuple) else {}
        if sum(key in names for key, _ in members) != 2 or tuple(found) not in (names[:2], names[:2][::-1], names[2:], names[2:][::-1]):
            return None
        if "context" in found:
            return len((found["context"] + found["continuation"]).encode()) - len(found["context"].encode()) or None
    except (ValueError, TypeError):  # also half a surrogate pair, and values that are no strings
        return None
    lists = found["context_ids"], found["continuation_ids"]
    good = all(isinstance(ids, list) and ids and all(type(one) is int and 0 <= one < 257 for one in ids) for ids in lists)
    return len(lists[1]) if good else None


class Dataset(Input):
    def make(self, draw):
        changed = draw.choice(["text.idx", "text.bin"])
        if draw.random() < 0.15:  # combine files of two datasets
            shutil.copy(self.folder / changed.replace("text", "other"), self.folder / changed)
        else:
            self.write(draw, changed, changed.replace("text", "other"))
        command = ["validate", "config.textproto", "--data"]
        self.commands = [draw.choice([command, command, [*TRAIN, "--set", "output.directory=new"]])]

    def problem(self, codes):
        if codes[0] != 0 or self.commands[0][0] == "train":
            return None
        return None if self.is_sound() else "a damaged dataset was accepted"

    def is_sound(self):
        index, data = (self.folder / "text.idx").read_bytes(), (self.folder / "text.bin").read_bytes()
        if index[:17] != b"MMIDIDX\0\0" + struct.pack("<Q", 1):
            return False
        letter = {1: "B", 2: "b", 3: "h", 4: "i", 5: "q", 8: "H"}.get(index[17])
        sequences, entries = struct.unpack_from("<QQ", index, 18)
        if letter is None or len(index) != 34 + 12 * sequences + 8 * entries or entries == 0:
            return False
        size = struct.calcsize(letter)
        lengths = struct.unpack_from(f"<{sequences}i", index, 34)
        offsets = struct.unpack_from(f"<{sequences}q", index, 34 + 4 * sequences)
        documents = struct.unpack_from(f"<{entries}q", index, 34 + 12 * sequences)
        sums = [size * sum(lengths[:n]) for n in range(sequences + 1)]
        tokens = struct.unpack(f"<{len(data) // size}{letter}", data) if sums[-1] == len(data) else (-1,)
        return (min(lengths, default=0) >= 0 and list(offsets) == sums[:-1] and list(documents) == sorted(documents) and
                documents[0] == 0 and documents[-1] == sequences and all(0 <= token < 257 for token in tokens))


class ResumedRun(Input):
    """A run that resumes from damaged files and exits with 0 must have the same bits as one that resumed from undamaged files."""
    def make(self, draw):
        self.commands = [TRAIN]
        self.damage(draw)

    def problem(self, codes):
        if codes[0] != 0 or last_tensors(self.folder / "run") == last_tensors(self.folder / "clean"):
            return None
        return "the resumed run has different weights"


class Checkpoint(ResumedRun):
    def damage(self, draw):
        steps = draw.choice([["4"], ["4"], ["2", "4"]])
        name = draw.choice(["manifest.textproto", "rank-00000.safetensors"])
        for step in steps:
            self.write(draw, f"run/checkpoints/step-0000000{step}/{name}", f"run/checkpoints/step-00000002/{name}")


class ForgedCheckpoint(Input):
    """Damage with correct checksums: the right result is unknown, but the program must end with a documented exit code."""
    def make(self, draw):
        checkpoint = self.folder / "run/checkpoints/step-00000004"
        rewrite_manifest(checkpoint / "manifest.textproto", lambda body: self.forged(draw, body, checkpoint / "rank-00000.safetensors"))
        if draw.random() < 0.5:
            shutil.rmtree(self.folder / "run/checkpoints/step-00000002")
        self.commands = [["evaluate", "config.textproto", "--json"], TRAIN]

    def forged(self, draw, body, tensors):
        """The manifest's text, mutated itself or fitting to a mutated header of the file `tensors`."""
        if draw.random() < 0.5:
            return mutated(draw, body, body)
        data = tensors.read_bytes()
        end = 8 + int.from_bytes(data[:8], "little")
        header = mutated(draw, data[8:end], data)
        length = len(header).to_bytes(8, "little") if draw.random() < 0.7 else mutated(draw, data[:8], data)[:8].ljust(8, b"\0")
        data = length + header + data[end:]
        tensors.write_bytes(data)
        body = re.sub(rb"header_crc32c: \d+", b"header_crc32c: %d" % crc32c(data[:8 + int.from_bytes(length, "little")]), body)
        return re.sub(rb"bytes: \d+", b"bytes: %d" % len(data), body)


class ForgedStart(ForgedCheckpoint):
    """The same as training.start_from, with or without a model of the configuration's own."""
    def make(self, draw):
        super().make(draw)
        own = self.folder / "config.textproto"
        (self.folder / "start.textproto").write_text(re.sub(r"model \{.*\n\}\n(?=data)", "", own.read_text(), flags=re.DOTALL))
        start = ["--set", "training.start_from=run/checkpoints/step-00000004", "--set", "output.directory=started"]
        config = draw.choice(["config.textproto", "start.textproto"])
        self.commands = [["validate", config, *start], ["train", config, "--plain", *start]]


class RunFiles(ResumedRun):
    """The other files in a run's directory."""
    def damage(self, draw):
        events = next((self.folder / "run/events").iterdir())
        for _ in range(draw.choice([1, 1, 2])):
            self.write(draw, draw.choice(["run/metrics.jsonl", "run/metrics.jsonl", "run/lock", "run/config.textproto", str(events)]),
                       "run/metrics.jsonl", "run/config.textproto")


KINDS = [ConfigurationText, CommandLine, Tokenizer, Text, JsonLines, Requests, Dataset, Checkpoint, ForgedCheckpoint, ForgedStart, RunFiles]
