"""CRC-32C, the checksum of checkpoints, for tests that write or change a checkpoint's files."""


def _entry(value):
    for _ in range(8):
        value = value >> 1 ^ 0x82f63b78 * (value & 1)
    return value


_TABLE = [_entry(value) for value in range(256)]


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xff] ^ crc >> 8
    return crc ^ 0xffffffff


def rewrite_manifest(path, change):
    """Replaces the text of a checkpoint's manifest, without its last line, by change(text); writes the right checksum after it."""
    text = path.read_bytes()
    body = change(text[:text.rindex(b"# crc32c: ")])
    path.write_bytes(body + b"# crc32c: %08x\n" % crc32c(body))
