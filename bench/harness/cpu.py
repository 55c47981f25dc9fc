"""Who used the processor, in percent of one CPU."""

import os
import time
from dataclasses import dataclass

TICK = os.sysconf("SC_CLK_TCK")


def machine() -> tuple[int, int]:
    """Ticks that all CPUs were busy, and ticks that the host of this machine took away."""
    with open("/proc/stat", encoding="ascii") as file:
        n = [int(word) for word in file.readline().split()[1:]]
    user, nice, system, _, _, irq, softirq, steal = n[:8]
    return user + nice + system + irq + softirq, steal


def process(pid: int) -> int:
    """Ticks of one process, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            words = file.read().rpartition(")")[2].split()
        return int(words[11]) + int(words[12])
    except (OSError, IndexError):
        return 0


def load() -> str:
    with open("/proc/loadavg", encoding="ascii") as file:
        return " ".join(file.read().split()[:3])


@dataclass(frozen=True)
class Usage:
    """Percent of one CPU over a span."""

    guest: float
    other: float
    steal: float


class Watch:
    """Measures from its creation to `stop`."""

    def __init__(self, guest: int):
        self.guest = guest
        self.start = (time.monotonic(), *machine(), process(guest), self.own())

    @staticmethod
    def own() -> float:
        t = os.times()
        return (t.user + t.system + t.children_user + t.children_system) * TICK

    def stop(self, of_load: float = 0.0) -> Usage:
        """`of_load`: ticks of load generators that are not children waited for since the start."""
        then, busy, steal, guest, own = self.start
        busy_now, steal_now = machine()
        used = process(self.guest) - guest
        other = busy_now - busy - used - (self.own() - own) - of_load
        scale = 100 / TICK / max(time.monotonic() - then, 1e-3)
        return Usage(used * scale, max(other, 0.0) * scale, (steal_now - steal) * scale)
