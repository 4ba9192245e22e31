"""Reads safetensors files and ropewalk's checkpoints, written from their descriptions only. Needs no package."""
import array
import json
import pathlib
import re
import struct

BYTES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2}


def read_safetensors(path):
    """Name -> (dtype, shape, bytes) of the tensors of one file."""
    content = pathlib.Path(path).read_bytes()
    length = struct.unpack_from("<Q", content)[0]
    header, data = json.loads(content[8:8 + length]), content[8 + length:]
    header.pop("__metadata__", None)
    return {name: (entry["dtype"], entry["shape"], data[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def read_model(folder):
    """The same for all *.safetensors files of a Hugging Face model."""
    tensors = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        tensors.update(read_safetensors(path))
    return tensors


def write_safetensors(path, tensors):
    """Writes name -> (shape, numbers) in fp64."""
    header, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        header[name] = {"dtype": "F64", "shape": shape, "data_offsets": [len(data), len(data) + 8 * len(numbers)]}
        data += struct.pack(f"<{len(numbers)}d", *numbers)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    pathlib.Path(path).write_bytes(struct.pack("<Q", len(text)) + text + data)


def numbers_of(dtype, data):
    """The values of a tensor's bytes, as doubles."""
    if dtype == "BF16":  # the upper half of an fp32 value
        data = array.array("I", [bits << 16 for bits in array.array("H", data)]).tobytes()
        dtype = "F32"
    if dtype == "F16":
        return array.array("d", struct.unpack(f"<{len(data) // 2}e", data))
    return array.array("d", array.array({"F32": "f", "F64": "d"}[dtype], data))


def parse_text(text):
    """A protobuf text message: field -> list of values, each a number, a string as it is written, a list, or a message."""
    words = re.findall(r'"(?:[^"\\]|\\.)*"|[\w.+-]+|[{}\[\]:,]', re.sub(r"^#.*$", "", text, flags=re.MULTILINE))
    at = 0

    def value():
        nonlocal at
        word = words[at]
        at += 1
        if word == "[":
            inside = words[at:words.index("]", at)]
            at += len(inside) + 1
            return [float(part) for part in inside if part != ","]
        return word[1:-1] if word.startswith('"') else word

    def message():
        nonlocal at
        fields = {}
        while at < len(words) and words[at] != "}":
            name = words[at]
            at += 1
            if words[at] == ":":
                at += 1
                content = value()
            else:
                at += 1  # {
                content = message()
                at += 1  # }
            fields.setdefault(name, []).append(content)
        return fields

    return message()


def read_checkpoint(folder):
    """Name -> (shape, numbers) of the complete tensors of a checkpoint. A piece is a box [rows) x [columns) of its tensor."""
    folder = pathlib.Path(folder)
    manifest = parse_text((folder / "manifest.textproto").read_text())
    files = [read_safetensors(folder / file["name"][0]) for file in manifest["file"]]
    tensors = {}
    for tensor in manifest["tensor"]:
        shape = [int(extent) for extent in tensor["shape"][0]]
        columns = shape[-1]
        whole = array.array("d", [float("nan")]) * (columns * (shape[0] if len(shape) == 2 else 1))
        for piece in tensor["piece"]:
            dtype, _, data = files[int(piece["file"][0])][piece["name"][0]]
            if dtype != tensor["dtype"][0]:
                raise ValueError(f"{folder}: {piece['name'][0]} is {dtype}, its tensor {tensor['dtype'][0]}")
            numbers = numbers_of(dtype, data)
            (top, bottom), (left, right) = ([int(end) for end in piece[side][0]] for side in ("rows", "columns"))
            for row in range(top, bottom):
                begin = (row - top) * (right - left)
                whole[row * columns + left:row * columns + right] = numbers[begin:begin + right - left]
        tensors[tensor["name"][0]] = (shape, whole)
    return tensors
