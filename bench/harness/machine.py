"""One run of one guest: console with times, first answer, memory, end."""

import re
import select
import signal
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass, field

from . import namespace

REQUEST = b"GET /hello HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n"
CONNECT_PATIENCE = 0.004
ANSWER_PATIENCE = 0.5
PAUSE = 0.0005


@dataclass
class Machine:
    """Times are milliseconds since QEMU was started."""

    command: list[str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __enter__(self) -> "Machine":
        namespace.queue_length(16)
        self.start = time.monotonic()
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.reader = threading.Thread(target=self.read_console, daemon=True)
        self.reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        return self.process.pid

    def elapsed(self) -> float:
        return (time.monotonic() - self.start) * 1000

    def read_console(self) -> None:
        rest = b""
        while chunk := self.process.stdout.read1(65536):
            now = self.elapsed()
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                self.lines.append((now, line.decode(errors="replace").strip()))
        if rest:
            self.lines.append((self.elapsed(), rest.decode(errors="replace").strip()))

    def running(self) -> bool:
        return self.process.poll() is None

    def wait_line(self, pattern: str, seconds: float) -> tuple[float, re.Match] | None:
        """The first console line that matches, or None at the time limit or QEMU's end."""
        expression, seen, end = re.compile(pattern), 0, time.monotonic() + seconds
        while True:
            alive = self.running()
            if not alive:
                self.reader.join(1)
            for when, line in self.lines[seen:]:
                seen += 1
                if found := expression.search(line):
                    return when, found
            if not alive or time.monotonic() > end:
                return None
            time.sleep(0.01)

    def first_answer(self, seconds: float) -> float | None:
        """When the first HTTP 200 came."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.running():
            if answers():
                now = self.elapsed()
                namespace.queue_length(1000)
                return now
            time.sleep(PAUSE)
        return None

    def resident(self) -> float:
        """QEMU's resident memory in MiB."""
        with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
            return int(re.search(r"VmRSS:\s+(\d+)", file.read()).group(1)) / 1024

    def warnings(self) -> list[str]:
        """Console lines in which the kernel complains."""
        return [line for _, line in self.lines if re.search(r"eggos: |Out of memory|oom-kill|panic", line)]

    def last_words(self) -> str:
        return " / ".join(line for _, line in self.lines[-3:] if line) or "nothing on the console"

    def stop(self) -> None:
        """SIGTERM first: QEMU then writes what its plugins found."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.running():
                self.process.send_signal(number)
                try:
                    self.process.wait(10)
                except subprocess.TimeoutExpired:
                    continue
        self.reader.join(5)


def answers() -> bool:
    """One try to get a 200. A try that fails ends by a reset, so that it leaves nothing behind."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
        s.setblocking(False)
        good = False
        try:
            s.connect((namespace.GUEST_ADDRESS, namespace.GUEST_PORT))
        except BlockingIOError:
            pass
        except OSError:
            return False
        if select.select([], [s], [], CONNECT_PATIENCE)[1] and not s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            try:
                s.send(REQUEST)
                if select.select([s], [], [], ANSWER_PATIENCE)[0]:
                    good = s.recv(512).startswith(b"HTTP/1.1 200")
            except OSError:
                pass
        if not good:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return good
