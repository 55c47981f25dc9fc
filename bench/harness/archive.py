"""Reads and writes newc archives (cpio -H newc): initramfs and eggos images, without root."""

import stat
from dataclasses import dataclass
from pathlib import Path

HEADER = 110
PAGE = 4096
TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def directory(name: str) -> Entry:
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, content: bytes) -> Entry:
    return Entry(name, stat.S_IFREG | 0o755, content)


def character_device(name: str, major: int, minor: int) -> Entry:
    return Entry(name, stat.S_IFCHR | 0o666, device=(major, minor))


def write(path: Path, entries: list[Entry], page_aligned: bool = False) -> None:
    """`page_aligned`: data of a page or more starts on a page, by zeros after the name, which is
    what an eggos image wants."""
    out = bytearray()
    for inode, entry in enumerate([*entries, Entry(TRAILER, 0)], 1):
        name = entry.name.encode() + b"\0"
        if page_aligned and stat.S_ISREG(entry.mode) and len(entry.content) >= PAGE:
            name += b"\0" * (-(len(out) + HEADER + len(name)) % PAGE)
        fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name
        out += b"\0" * (-len(out) % 4) + entry.content
        out += b"\0" * (-len(out) % 4)
    path.write_bytes(out)


def read(path: Path) -> list[Entry]:
    data, at, entries = path.read_bytes(), 0, []
    while data[at : at + 6] == b"070701":
        fields = [int(data[at + 6 + 8 * i : at + 14 + 8 * i], 16) for i in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = data[at + HEADER : at + HEADER + name_size].split(b"\0")[0].decode()
        start = (at + HEADER + name_size + 3) // 4 * 4
        if name == TRAILER:
            return entries
        entries.append(Entry(name, mode, data[start : start + size], (fields[9], fields[10])))
        at = (start + size + 3) // 4 * 4
    raise ValueError(f"{path} is not a whole newc archive")
