"""What is measured. Each section takes the guests in turn, round by round, so that whatever else
the machine does meets all of them."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import load
from .cpu import Watch
from .guests import INSTRUCTION_COUNT, SERVER, Eggos, Guest, Program, go_marks
from .elf import Elf
from .machine import Machine
from .record import Record, Turn
from . import paths

ANSWER_LIMIT = 90.0
WARM_UP = 2


@dataclass
class Options:
    guests: list[Guest]
    rounds: int
    cpus: list[int]
    memory: int
    connections: int
    seconds: int
    rows: list[str]


def turns(options: Options, rounds: int | None = None) -> Iterator[tuple[Turn, Guest]]:
    for number in range(1, (rounds or options.rounds) + 1):
        for cpus in options.cpus:
            for guest in options.guests:
                yield Turn(number, guest.name, cpus), guest


def boot(options: Options, record: Record) -> None:
    """From the start of QEMU to the first HTTP 200, and what it takes then."""
    for turn, guest in turns(options):
        with Machine(guest.command(SERVER, options.memory, turn.cpus)) as machine:
            watch = Watch(machine.pid)
            answer = machine.first_answer(ANSWER_LIMIT)
            record.put("boot", turn, "start to first HTTP 200", "ms", answer)
            if answer is None:
                record.note(f"{guest.name} did not answer: {machine.last_words()}")
                continue
            usage = watch.stop()
            ready = machine.wait_line("READY", 2)
            record.put("boot", turn, "start to main", "ms", ready[0] if ready else None)
            record.put("boot", turn, "CPU used by others meanwhile", "%", usage.other)
            time.sleep(1)
            watch = Watch(machine.pid)
            time.sleep(2)
            record.put("boot", turn, "QEMU's CPU use, idle", "%", watch.stop().guest)
            record.put("boot", turn, "QEMU's resident memory, idle", "MiB", machine.resident())


#: name, connections, path, what counts
LOADS = [
    ("32 connections", 32, "/hello", "requests"),
    ("1 connection", 1, "/hello", "requests"),
    ("1 MiB bodies, 1 connection", 1, "/big", "mebibytes"),
    ("1 MiB bodies, 8 connections", 8, "/big", "mebibytes"),
]


def loads(options: Options, record: Record) -> None:
    """What a server serves: keep-alive connections by wrk."""
    for turn, guest in turns(options):
        with Machine(guest.command(SERVER, options.memory, turn.cpus)) as machine:
            if machine.first_answer(ANSWER_LIMIT) is None:
                record.put("load", turn, "boot", "", "failed")
                continue
            load.wrk(8, WARM_UP, "/hello")
            for name, connections, path, counts in LOADS:
                watch = Watch(machine.pid)
                served = load.wrk(connections, options.seconds, path)
                usage = watch.stop()
                unit = "/s" if counts == "requests" else "MiB/s"
                record.put("load", turn, name, unit, getattr(served, counts))
                record.put("load", turn, f"{name}: median latency", "ms", served.middle)
                record.put("load", turn, f"{name}: 99 % latency", "ms", served.slow)
                record.put("load", turn, f"{name}: errors", "", float(served.errors))
                record.put("load", turn, f"{name}: CPU used by others meanwhile", "%", usage.other)
            record.put("load", turn, "QEMU's resident memory, loaded", "MiB", machine.resident())
            complain(machine, guest, record)


def complain(machine: Machine, guest: Guest, record: Record) -> None:
    for line in machine.warnings()[:5]:
        record.note(f"{guest.name} said: {line}")


def memory(options: Options, record: Record) -> None:
    """The smallest -m with which the server boots and survives three seconds of 32 connections."""
    for turn, guest in turns(options, rounds=1):
        step = 1 if isinstance(guest, Eggos) else 4
        low, high = 0, options.memory // step
        while high - low > 1:
            middle = (low + high) // 2
            if survives(guest, middle * step, turn.cpus):
                high = middle
            else:
                low = middle
        record.put("memory", turn, "smallest that boots and survives load", "MiB", float(high * step))
        with Machine(guest.command(SERVER, max(high * step, 16), turn.cpus)) as machine:
            if machine.first_answer(ANSWER_LIMIT) is not None:
                time.sleep(1)
                record.put("memory", turn, "QEMU's resident memory with that (at least 16 MiB)", "MiB",
                           machine.resident())


def survives(guest: Guest, mebibytes: int, cpus: int) -> bool:
    with Machine(guest.command(SERVER, mebibytes, cpus)) as machine:
        good = (machine.first_answer(30) is not None
                and load.wrk(32, 3, "/hello").errors == 0
                and load.wrk(1, 1, "/hello").requests > 0
                and machine.running() and not machine.warnings())
        print(f"# {guest.name} with {mebibytes} MiB: {'good' if good else 'fails: ' + machine.last_words()[:100]}",
              flush=True)
        return good


def connections(options: Options, record: Record) -> None:
    """Many connections open at once, each answered twice."""
    for turn, guest in turns(options):
        with Machine(guest.command(SERVER, options.memory, turn.cpus)) as machine:
            if machine.first_answer(ANSWER_LIMIT) is None:
                record.put("connections", turn, "boot", "", "failed")
                continue
            load.wrk(8, WARM_UP, "/hello")
            _, counts, complaints = load.client("many", "-n", str(options.connections), seconds=120)
            wanted = options.connections
            for name in ("opened", "first_answers", "second_answers"):
                record.put("connections", turn, f"{name.replace('_', ' ')} of {wanted}", "", float(counts.get(name, 0)))
            record.put("connections", turn, "until all were open and answered once", "ms",
                       float(counts.get("all_open_ms", 0)))
            for complaint in complaints[:5]:
                record.note(f"{guest.name}: {complaint.lstrip('# ')}")
            complain(machine, guest, record)


def instructions(options: Options, record: Record) -> None:
    """Instructions from kernel entry to the program's main, and for each row of the micro
    benchmark: figures that do not depend on what else the machine does."""
    for guest in options.guests:
        boot_instructions(guest, options, record)
    for guest in options.guests:
        micro_rows("instructions", guest, Turn(1, guest.name, 1), options, record, COUNTED, INSTRUCTION_COUNT)


def micro(options: Options, record: Record) -> None:
    """Each row of the micro benchmark as time passes outside."""
    for turn, guest in turns(options):
        micro_rows("micro", guest, turn, options, record, TIMED)


#: What a unit of the micro benchmark is multiplied by, and what it is then.
Units = dict[str, tuple[float, str]]
TIMED: Units = {"ns": (1.0, "ns"), "us": (1e3, "ns"), "s": (1e9, "ns"), "MB/s": (1.0, "MB/s"), "x": (1.0, "x")}
#: With a nanosecond for each instruction.
COUNTED: Units = {unit: (factor, {"ns": "instructions", "MB/s": "bytes per 1,000 instructions"}.get(shown, shown))
                  for unit, (factor, shown) in TIMED.items()}


def micro_rows(section: str, guest: Guest, turn: Turn, options: Options, record: Record, units: Units,
               mode: list[str] | None = None) -> None:
    what = Program("micro", tuple(options.rows))
    with Machine(guest.command(what, options.memory, turn.cpus, mode)) as machine:
        if machine.wait_line("MICRO DONE", 900) is None:
            record.note(f"{guest.name}: the micro benchmark did not end: {machine.last_words()}")
        for _, line in machine.lines:
            micro_row(section, line, turn, record, units)


def micro_row(section: str, line: str, turn: Turn, record: Record, units: Units) -> None:
    if failed := re.match(r"(\w+) FAIL (.*)", line):
        record.put(section, turn, failed[1], "", "failed")
        record.note(f"{turn.guest}: {failed[1]} failed: {failed[2]}")
    elif found := re.match(r"(\w+) (-?[\d.]+) (ns|us|s|MB/s|x)$", line):
        factor, unit = units[found[3]]
        record.put(section, turn, found[1], unit, float(found[2]) * factor)


def boot_instructions(guest: Guest, options: Options, record: Record) -> None:
    out = paths.temporary() / f"marks-{guest.name}.txt"
    marks = go_marks(SERVER)
    plugin = f"{paths.need(paths.PLUGIN)},out={out},from={Elf(guest.kernel()).pvh_entry():#x}"
    plugin += "".join(f",mark={address:x}:{code}" for address, code in marks.values())
    command = [*guest.command(SERVER, options.memory, 1, ["-accel", "tcg,thread=single"]), "-plugin", plugin]
    with Machine(command) as machine:
        ready = machine.wait_line("READY", 300)
        if ready is None:
            record.note(f"{guest.name} under the counting plugin: {machine.last_words()}")
    reached = dict(re.findall(r"^mark (\w+) (\d+)$", out.read_text(), re.MULTILINE)) if out.exists() else {}
    counts = {name: float(reached[f"{address:x}"]) for name, (address, _) in marks.items() if f"{address:x}" in reached}
    turn = Turn(1, guest.name, 1)
    record.put("instructions", turn, "kernel entry to main", "instructions", counts.get("main"))
    record.put("instructions", turn, "kernel entry to the program's entry", "instructions", counts.get("entry"))


def size(options: Options, record: Record) -> None:
    """The kernel's ELF as it is shipped, stripped."""
    for guest in options.guests:
        if isinstance(guest, Eggos):
            record.put("size", Turn(1, guest.name, 1), "stripped kernel ELF", "MiB",
                       guest.kernel().stat().st_size / (1 << 20))


SECTIONS: dict[str, Callable[[Options, Record], None]] = {
    "size": size,
    "boot": boot,
    "load": loads,
    "connections": connections,
    "memory": memory,
    "micro": micro,
    "instructions": instructions,
}
