"""Mutations of valid inputs. All random choices come from the random.Random argument, so that they are reproducible."""
import re

NUMBERS = ["-1", "0", "00", "-0", "1e999", "-1e999", "1e-999", "nan", "inf", "0x10", "2147483648", "4294967296", "9223372036854775807",
           "9223372036854775808", "-9223372036854775809", "18446744073709551616", "1" * 400, "1.5", "1,5", "1_000", "true", "", "''"]
WORDS = ["", " ", "\n", "\r\n", "\0", "\t", "\ufeff", "{", "}", "[", "]", "\"", "'", "\\", "\\u0000", "\\ud83d", ":", ",", "#", "//", "..", "/",
         "\u00e9", "\U0001f642", "%s%n", "{}", "null", "text", "step", "\x1b[2J"]
BYTES = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xc0\x80", b"\xfe\xff", b"\0\0\0\0", b"\x80" * 20]
INTEGERS = [0, 1, 7, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
OPENERS = [b"[", b"{", b"{\"a\":", b"model {", b"[{\"a\":[", b"<", b"("]


def place(draw, data):
    return draw.randint(0, len(data))


def part(draw, data):
    begin, end = sorted((place(draw, data), place(draw, data)))
    if draw.random() < 0.7:  # short in most cases
        end = min(end, begin + draw.randint(1, 40))
    return begin, end


def flip_bits(draw, data, _):
    for _ in range(draw.choice([1, 1, 1, 2, 8, 64])):
        if data:
            at = draw.randrange(len(data))
            data = data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1:]
    return data


def truncate(draw, data, _):
    return data[:place(draw, data)]


def behead(draw, data, _):
    return data[place(draw, data):]


def cut_out(draw, data, _):
    begin, end = part(draw, data)
    return data[:begin] + data[end:]


def duplicate(draw, data, _):
    begin, end = part(draw, data)
    times = draw.choice([1, 1, 2, 50])
    return data[:end] + data[begin:end] * times + data[end:]


def move(draw, data, _):
    begin, end = part(draw, data)
    rest = data[:begin] + data[end:]
    at = place(draw, rest)
    return rest[:at] + data[begin:end] + rest[at:]


def splice(draw, data, other):
    return data[:place(draw, data)] + other[place(draw, other):]


def insert_part_of_another(draw, data, other):
    begin, end = part(draw, other)
    at = place(draw, data)
    return data[:at] + other[begin:end] + data[at:]


def insert_bytes(draw, data, _):
    at = place(draw, data)
    what = draw.choice([*BYTES, *(word.encode() for word in WORDS), draw.randbytes(draw.randint(1, 30))])
    return data[:at] + what + data[at:]


def change_number(draw, data, _):
    numbers = list(re.finditer(rb"-?\d[\d.e+-]*", data))
    if not numbers:
        return insert_bytes(draw, data, _)
    number = draw.choice(numbers)
    new = draw.choice([*NUMBERS, number.group().decode() + draw.choice("0123456789.e-"), str(draw.randint(-2**65, 2**65))])
    return data[:number.start()] + new.encode() + data[number.end():]


def overwrite_integer(draw, data, _):
    bytes_ = draw.choice([1, 2, 4, 8])
    value = (draw.choice(INTEGERS) & (1 << 8 * bytes_) - 1).to_bytes(bytes_, "little")
    at = draw.randint(0, max(0, len(data) - bytes_))
    return data[:at] + value + data[at + bytes_:]


def nest(draw, data, _):
    at = place(draw, data)
    return data[:at] + draw.choice(OPENERS) * draw.choice([10, 1000, 100_000]) + data[at:]


def empty(*_):
    return b""


MUTATIONS = [flip_bits, flip_bits, truncate, behead, cut_out, duplicate, move, splice, insert_part_of_another, insert_bytes, insert_bytes,
             change_number, change_number, overwrite_integer, overwrite_integer, nest, empty]


IN_PLACE = [flip_bits, overwrite_integer]  # these keep the size, so they pass the first check of many parsers


def mutated(draw, data, other):
    """`data` after one to four mutations; `other` is another valid input of the same kind."""
    choices = IN_PLACE if draw.random() < 0.3 else MUTATIONS
    for _ in range(draw.choice([1, 1, 1, 2, 3, 4])):
        data = draw.choice(choices)(draw, data, other)
    return data


def mutated_word(draw, word):
    """A mutated command-line argument: without NUL bytes, and at most 5000 bytes long."""
    data = mutated(draw, word.encode(errors="surrogateescape"), draw.choice(WORDS).encode())
    return data.replace(b"\0", b"")[:5000].decode(errors="surrogateescape")
