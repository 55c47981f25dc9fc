"""Which functions a guest executes: the plugin's counts of blocks, by symbol."""

import re
from collections import Counter
from pathlib import Path

from .elf import Elf, SymbolTable

KERNEL_HALF = 1 << 63


def functions(counts: Path, kernel: Path | None, program: Path) -> tuple[Counter[str], int, int]:
    """Instructions by function, kernel names prefixed by "k "; and the sums of kernel and user."""
    names = SymbolTable(Elf(kernel).symbols()) if kernel else SymbolTable([])
    user_names = SymbolTable(Elf(program).symbols())
    found: Counter[str] = Counter()
    sums = [0, 0]
    for match in re.finditer(r"^block (\w+) (\d+) (\d+)$", counts.read_text(), re.MULTILINE):
        address, instructions = int(match[1], 16), int(match[2]) * int(match[3])
        in_kernel = address >= KERNEL_HALF
        table = names if in_kernel else user_names
        name = table.name(address) or f"{address & ~0xFFF:#x}"
        found[("k " if in_kernel else "u ") + demangled(name)] += instructions
        sums[0 if in_kernel else 1] += instructions
    return found, sums[0], sums[1]


def demangled(name: str) -> str:
    """Rust's legacy names (_ZN…E) in the usual form; others as they are."""
    if not (match := re.fullmatch(r"_ZN((?:\d+.*)+)E(?:\..*)?", name)):
        return name
    rest, parts = match[1], []
    while digits := re.match(r"\d+", rest):
        length = int(digits[0])
        parts.append(rest[digits.end() : digits.end() + length])
        rest = rest[digits.end() + length :]
    if parts and re.fullmatch(r"h[0-9a-f]{16}", parts[-1]):
        parts.pop()
    text = "::".join(parts)
    for code, sign in (("$LT$", "<"), ("$GT$", ">"), ("$u20$", " "), ("$RF$", "&"), ("$C$", ","), ("$LP$", "("),
                       ("$RP$", ")"), ("$u7b$", "{"), ("$u7d$", "}"), ("..", "::"), ("$BP$", "*"), ("$u5b$", "["), ("$u5d$", "]")):
        text = text.replace(code, sign)
    return text
