"""The stored instruction counts, bench/instructions.tsv: one line a row of the micro benchmark."""

import math
from dataclasses import dataclass
from pathlib import Path

from . import paths

FILE = paths.ROOT / "bench" / "instructions.tsv"
HEAD = ("row", "eggos", "linux", "program", "tolerance %", "remark")


@dataclass
class Stored:
    """Instructions an operation."""

    eggos: float
    #: The best Linux guest, same program.
    linux: float
    #: What the program itself executes of eggos's count, outside the kernel. NaN: no instructions but waiting.
    program: float
    #: How much worse than `eggos` a count may be, in percent.
    tolerance: float = 5.0
    remark: str = ""

    @property
    def mostly_kernel(self) -> bool:
        """True when more than half of Linux's instructions are not the program's own."""
        return self.program < self.linux / 2

    @property
    def limit(self) -> float:
        """More than this is worse than stored."""
        return self.eggos * (1 + self.tolerance / 100)

    @property
    def linux_limit(self) -> float:
        """More than this is more than Linux's. Where all but a tenth is the program's own, the kernel has no part in
        what chance adds."""
        return self.linux * (1 + self.tolerance / 100 if self.program > 0.9 * self.linux else 1)

    def line(self, row: str) -> str:
        return "\t".join([row, show(self.eggos), show(self.linux), show(self.program), f"{self.tolerance:g}", self.remark])


def show(count: float) -> str:
    """Four digits at least, as the benchmark prints them."""
    if math.isnan(count):
        return "-"
    return f"{count:.{2 if count < 100 else 1 if count < 1000 else 0}f}"


def read(path: Path = FILE) -> tuple[list[str], dict[str, Stored]]:
    """The lines of comment at the head, and the rows."""
    comments, rows = [], {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            comments.append(line)
        elif line and not line.startswith(HEAD[0] + "\t"):
            name, eggos, linux, program, tolerance, *remark = line.split("\t")
            rows[name] = Stored(float(eggos), float(linux), math.nan if program == "-" else float(program),
                                float(tolerance), *remark)
    return comments, rows


def write(comments: list[str], rows: dict[str, Stored], path: Path = FILE) -> None:
    lines = [*comments, "\t".join(HEAD), *(stored.line(name).rstrip() for name, stored in rows.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def mean_ratio(rows: dict[str, Stored], measured: dict[str, float]) -> tuple[float, int]:
    """The geometric mean of eggos's counts to Linux's over the rows that are mostly kernel, and how many those are."""
    ratios = [measured[name] / stored.linux for name, stored in rows.items() if stored.mostly_kernel and name in measured]
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else math.nan, len(ratios)
