"""Load for a long time, and what it leaves behind."""

import statistics
import threading
import time
from dataclasses import dataclass, field

from . import load
from .guests import SERVER, Guest
from .machine import Machine

#: The counts settle: Go's heap, its threads, the kernel's tables reach their size.
SETTLE = 60.0
EVERY = 5.0
#: KiB by which Go's heap and tables may differ from one collection to the next.
PROGRAM = 2048
#: For connections to go: longer than TIME_WAIT on either side.
DRAIN = 75.0


@dataclass
class Watcher:
    """Asks the guest about its memory again and again."""

    samples: list[tuple[float, load.GuestMemory]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        start = time.monotonic()
        while not self.over.wait(EVERY):
            try:
                self.samples.append((time.monotonic() - start, load.guest_memory(collect=False)))
            except OSError as error:
                self.problems.append(f"memory not told after {time.monotonic() - start:.0f} s: {error}")

    def middles(self, seconds: float) -> tuple[float, float] | None:
        """Median of the kernel's memory in the first and in the last quarter, in KiB, both as it would be with the
        average number of sockets: a socket's buffers are far more than what a leak would be, and how many are open
        at a time is chance."""
        sockets = [memory.open for _, memory in self.samples]
        kernel = [memory.kernel for _, memory in self.samples]
        if len(set(sockets)) < 2:
            return None
        each = statistics.linear_regression(sockets, kernel).slope
        average = statistics.mean(sockets)
        like = [(when, memory.kernel + each * (average - memory.open)) for when, memory in self.samples]
        early = [amount for when, amount in like if when < seconds / 4]
        late = [amount for when, amount in like if when >= seconds * 3 / 4]
        return (statistics.median(early), statistics.median(late)) if early and late else None


def soak(guest: Guest, memory: int, cpus: int, seconds: float, tolerance: int) -> list[str]:
    """Runs and tells; returns what went wrong. `tolerance`: KiB that the kernel may grow by."""
    with Machine(guest.command(SERVER, memory, cpus)) as machine:
        if machine.first_answer(90) is None:
            return [f"no answer: {machine.last_words()}"]
        load.client("soak", "-d", f"{min(SETTLE, seconds / 5):.0f}s", seconds=600)
        time.sleep(min(DRAIN, seconds / 5))
        before = load.guest_memory(collect=True)
        watcher = Watcher()
        thread = threading.Thread(target=watcher.run)
        thread.start()
        good, counts, complaints = load.client("soak", "-d", f"{seconds:.0f}s", seconds=seconds + 300)
        watcher.over.set()
        thread.join()
        time.sleep(min(DRAIN, seconds / 5))
        wrong = list(watcher.problems)
        if not machine.running():
            return [*wrong, f"the machine ended: {machine.last_words()}", *complaints[:20]]
        after = load.guest_memory(collect=True)
        warnings = machine.warnings()
    for name, count in counts.items():
        print(f"{name:20} {count:10,}")
    middles = watcher.middles(seconds)
    if middles is not None:
        early, late = middles
        print(f"kernel memory under load: first quarter {early:.0f} KiB, last quarter {late:.0f} KiB, for as many sockets")
    print(f"kernel memory at rest: before {before.kernel} KiB, after {after.kernel} KiB")
    print(f"all memory at rest: before {before.used} KiB, after {after.used} KiB")
    print(f"goroutines at rest: before {before.goroutines}, after {after.goroutines}")
    if not good:
        wrong += [f"{counts.get('lost', '?')} lost", *complaints[:20]]
    if after.kernel - before.kernel > tolerance:
        wrong.append(f"the kernel grew by {after.kernel - before.kernel} KiB at rest")
    if middles is None:
        wrong.append("too few samples of the kernel's memory under load")
    elif middles[1] - middles[0] > tolerance:
        wrong.append(f"the kernel grew by {middles[1] - middles[0]:.0f} KiB under load")
    if after.used - before.used > PROGRAM + tolerance:
        wrong.append(f"all memory in use grew by {after.used - before.used} KiB at rest")
    if after.goroutines > before.goroutines:
        wrong.append(f"{after.goroutines - before.goroutines} goroutines stayed: connections whose end was not told")
    return wrong + [f"console: {line}" for line in warnings[:20]]
