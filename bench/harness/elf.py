"""The little of ELF that is needed: symbols, notes, segments."""

import bisect
import struct
from dataclasses import dataclass
from pathlib import Path

PVH_ENTRY_NOTE = 18  # XEN_ELFNOTE_PHYS32_ENTRY
PT_LOAD, PT_NOTE, SHT_SYMTAB, STT_FUNC = 1, 4, 2, 2


@dataclass(frozen=True)
class Segment:
    kind: int
    offset: int
    address: int
    size: int


class Elf:
    """A 64-bit little-endian ELF file."""

    def __init__(self, path: Path):
        self.data = path.read_bytes()
        if self.data[:6] != b"\x7fELF\x02\x01":
            raise ValueError(f"{path} is not a 64-bit little-endian ELF")
        (self.phoff, self.shoff) = struct.unpack_from("<QQ", self.data, 32)
        (self.phnum,) = struct.unpack_from("<H", self.data, 56)
        (self.shnum,) = struct.unpack_from("<H", self.data, 60)

    def segments(self) -> list[Segment]:
        rows = []
        for i in range(self.phnum):
            kind, _, offset, address, _, size = struct.unpack_from("<IIQQQQ", self.data, self.phoff + 56 * i)
            rows.append(Segment(kind, offset, address, size))
        return rows

    def pvh_entry(self) -> int:
        """Physical address of the 32-bit entry that QEMU's -kernel uses."""
        for segment in self.segments():
            at, end = segment.offset, segment.offset + segment.size
            while segment.kind == PT_NOTE and at + 12 <= end:
                name_size, size, kind = struct.unpack_from("<III", self.data, at)
                body = at + 12 + (name_size + 3) // 4 * 4
                name = self.data[at + 12 : at + 12 + name_size].rstrip(b"\0")
                if kind == PVH_ENTRY_NOTE and name == b"Xen":
                    return int.from_bytes(self.data[body : body + min(size, 8)], "little")
                at = body + (size + 3) // 4 * 4
        raise ValueError("the kernel has no PVH entry note")

    def symbols(self) -> list[tuple[int, int, str]]:
        """Functions as (address, size, name), by address."""
        sections = [struct.unpack_from("<IIQQQQIIQQ", self.data, self.shoff + 64 * i) for i in range(self.shnum)]
        found = []
        for section in sections:
            if section[1] != SHT_SYMTAB:
                continue
            strings = sections[section[6]][4]
            for at in range(section[4], section[4] + section[5], 24):
                name, info, _, _, address, size = struct.unpack_from("<IBBHQQ", self.data, at)
                if info & 15 == STT_FUNC or (info & 15 == 0 and address >> 63):
                    end = self.data.index(b"\0", strings + name)
                    found.append((address, size, self.data[strings + name : end].decode(errors="replace")))
        return sorted(found)

    def address_of(self, name: str) -> int:
        for address, _, symbol in self.symbols():
            if symbol == name:
                return address
        raise ValueError(f"no symbol {name}")

    def bytes_at(self, address: int, count: int) -> bytes:
        for segment in self.segments():
            if segment.kind == PT_LOAD and segment.address <= address < segment.address + segment.size:
                at = segment.offset + address - segment.address
                return self.data[at : at + count]
        raise ValueError(f"no segment holds {address:#x}")


class SymbolTable:
    """Names for addresses."""

    def __init__(self, rows: list[tuple[int, int, str]]):
        self.rows = sorted(rows)
        self.starts = [row[0] for row in self.rows]

    def name(self, address: int) -> str | None:
        i = bisect.bisect_right(self.starts, address) - 1
        if i < 0:
            return None
        start, size, name = self.rows[i]
        return name if size == 0 or address < start + size else None
