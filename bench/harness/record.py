"""What was measured, and how it is shown."""

import datetime
import statistics
import sys
from dataclasses import dataclass, field
from pathlib import Path

from . import cpu, paths


@dataclass(frozen=True)
class Sample:
    section: str
    round: int
    guest: str
    cpus: int
    metric: str
    unit: str
    value: float | str


@dataclass
class Record:
    """All samples of one run, in the order in which they came."""

    command: str
    samples: list[Sample] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    started: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"))
    load_before: str = field(default_factory=cpu.load)
    commit: str = field(default_factory=paths.commit)

    def put(self, section: str, turn: "Turn", metric: str, unit: str, value: float | str | None) -> None:
        if value is None:
            value = "failed"
        self.samples.append(Sample(section, turn.round, turn.guest, turn.cpus, metric, unit, value))
        print(f"{section:12} {turn.round} {turn.guest:6} {turn.cpus} cpu  {metric} {show(value)} {unit}", flush=True)

    def note(self, text: str) -> None:
        self.notes.append(text)
        print(f"# {text}", flush=True)

    def write(self, base: Path) -> None:
        base.parent.mkdir(parents=True, exist_ok=True)
        rows = ["\t".join(("section", "round", "guest", "cpus", "metric", "unit", "value"))]
        rows += ["\t".join(str(field) for field in (s.section, s.round, s.guest, s.cpus, s.metric, s.unit, s.value))
                 for s in self.samples]
        base.with_name(base.name + ".tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        base.with_name(base.name + ".md").write_text(self.markdown(), encoding="utf-8")
        print(f"\nwritten: {base}.md and .tsv", file=sys.stderr)

    def markdown(self) -> str:
        lines = [f"# Measured on {self.started}", ""]
        lines += [f"- commit {self.commit}; command `{self.command}`"]
        lines += [f"- {line}" for line in machine_facts()]
        lines += [f"- load average before: {self.load_before}, after: {cpu.load()}"]
        lines += [f"- {note}" for note in self.notes]
        sections = list(dict.fromkeys(s.section for s in self.samples))
        for section in sections:
            lines += ["", f"## {section}", "", *self.table(section)]
        return "\n".join(lines) + "\n"

    def table(self, section: str) -> list[str]:
        """One row a metric and number of CPUs: the medians side by side, and their ratio."""
        samples = [s for s in self.samples if s.section == section]
        guests = list(dict.fromkeys(s.guest for s in samples))
        keys = list(dict.fromkeys((s.metric, s.unit, s.cpus) for s in samples))
        several = len(guests) > 1
        head = ["", "CPUs", *guests, *(["ratio"] if several else []), "samples"]
        lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
        for metric, unit, cpus in keys:
            groups = [[s.value for s in samples if (s.guest, s.metric, s.cpus) == (g, metric, cpus)] for g in guests]
            middles = [middle(values) for values in groups]
            numbers = [m if isinstance(m, float) else None for m in middles]
            ratio = [f"{numbers[-1] / numbers[0]:.3g}" if numbers[0] and numbers[-1] is not None else "–"] if several else []
            raw = " / ".join(", ".join(show(value) for value in values) for values in groups)
            name = f"{metric}, {unit}" if unit else metric
            lines.append("| " + " | ".join([name, str(cpus), *map(show, middles), *ratio, raw]) + " |")
        return lines


@dataclass(frozen=True)
class Turn:
    """Whose turn it is."""

    round: int
    guest: str
    cpus: int


def middle(values: list[float | str]) -> float | str:
    """The median; words when there is nothing to count."""
    numbers = [float(value) for value in values if not isinstance(value, str)]
    words = [value for value in values if isinstance(value, str)]
    if not numbers:
        return ", ".join(sorted(set(words))) or "–"
    if words:
        return f"{show(statistics.median(numbers))}, {len(words)} of {len(values)} {words[0]}"
    return float(statistics.median(numbers))


def show(value: float | str) -> str:
    """Four digits are more than these measurements hold."""
    if isinstance(value, str):
        return value
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def machine_facts() -> list[str]:
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    model = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    cores = sum(line.startswith("processor") for line in cpuinfo)
    qemu = paths.output_of("qemu-system-x86_64", "--version").splitlines()[:1]
    go = paths.output_of("go", "version", str(paths.BIN / "server")).rpartition(" ")[2]
    kernel = (paths.WORK / "linux-version").read_text(encoding="ascii").strip() if (paths.WORK / "linux-version").exists() else "?"
    return [f"host: {model}, {cores} CPUs, Linux {paths.output_of('uname', '-r')}",
            f"{qemu[0] if qemu else 'no QEMU'}, TCG; programs built by {go}; opponent: Linux {kernel}"]
