"""Load on the guest, from inside the namespace."""

import re
import resource
import subprocess
import urllib.request
from dataclasses import dataclass

from . import namespace, paths

ADDRESS = f"{namespace.GUEST_ADDRESS}:{namespace.GUEST_PORT}"
SCALE = {"B": 1 / (1 << 20), "KB": 1 / 1024, "MB": 1, "GB": 1024}
MILLISECONDS = {"us": 1e-3, "ms": 1, "s": 1e3}


@dataclass(frozen=True)
class Served:
    """What wrk saw."""

    requests: float  # a second
    mebibytes: float  # a second
    middle: float  # latency in ms, half of the requests
    slow: float  # latency in ms, 99 %
    errors: int


def wrk(connections: int, seconds: int, path: str) -> Served:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}", "--latency", "--timeout", "10",
               f"http://{ADDRESS}{path}"]
    try:
        text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 30).stdout
    except subprocess.TimeoutExpired:  # wrk waits without end for a server that is gone
        text = ""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    bulk = re.search(r"Transfer/sec:\s+([\d.]+)([KMG]?B)", text)
    if not rate or not bulk:
        return Served(0, 0, 0, 0, 1)
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    count = sum(map(int, errors.groups())) if errors else 0
    count += int(refused.group(1)) if refused else 0
    return Served(float(rate.group(1)), float(bulk.group(1)) * SCALE[bulk.group(2)],
                  latency(text, "50%"), latency(text, "99%"), count)


def latency(text: str, part: str) -> float:
    found = re.search(rf"^\s+{part}\s+([\d.]+)(us|ms|s)$", text, re.MULTILINE)
    return float(found.group(1)) * MILLISECONDS[found.group(2)] if found else 0.0


def client(*words: str, seconds: float) -> tuple[bool, dict[str, int], list[str]]:
    """Runs go/bench/client: whether nothing was lost, its counts, and its complaints."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    done = subprocess.run([str(paths.need(paths.CLIENT)), *words, ADDRESS], capture_output=True, text=True,
                          check=False, timeout=seconds)
    counts = dict(re.findall(r"^(\w+) (\d+)$", done.stdout, re.MULTILINE))
    complaints = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("#")]
    return done.returncode == 0, {name: int(count) for name, count in counts.items()}, complaints


@dataclass(frozen=True)
class GuestMemory:
    """What the guest says about its memory, in KiB."""

    kernel: int  # what the kernel allocated for itself
    used: int  # all that is in use, the program's memory included
    goroutines: int
    open: int  # TCP sockets


def guest_memory(collect: bool) -> GuestMemory:
    """Asks the server; `collect`: after it has given its free memory back."""
    url = f"http://{ADDRESS}/memory" + ("?gc=1" if collect else "")
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=20) as answer:
        text = answer.read().decode()
    table = dict(re.findall(r"^(\w+):\s+(\d+)", text, re.MULTILINE))
    sockets = re.search(r"^TCP: inuse (\d+) ", text, re.MULTILINE)
    return GuestMemory(int(table["Slab"]), int(table["MemTotal"]) - int(table["MemFree"]), int(table["Goroutines"]),
                       int(sockets.group(1)) if sockets else 0)
