"""A network namespace of one's own: no load ever leaves it.

The program starts itself again under unshare(1); the namespace goes when the last process in it
ends, so nothing is left behind.
"""

import os
import subprocess
import sys

HOST_ADDRESS = "10.77.0.1"
GUEST_ADDRESS = "10.77.0.2"
PREFIX = 24
GUEST_PORT = 8080
TAP = "tap0"
MAC = "52:54:00:12:34:56"
MARK = "EGGOS_BENCH_NAMESPACE"


def enter() -> None:
    """Returns inside the namespace, with the tap device up."""
    if MARK not in os.environ:
        as_root = ["unshare", "--net", "--mount-proc", "--pid", "--fork", "--kill-child"]
        as_user = ["unshare", "--user", "--map-root-user", "--net"]
        command = as_root if os.geteuid() == 0 else as_user
        os.execvpe(command[0], [*command, sys.executable, *sys.argv], os.environ | {MARK: "1"})
    ip("link", "set", "lo", "up")
    ip("tuntap", "add", "dev", TAP, "mode", "tap", "vnet_hdr")
    ip("addr", "add", f"{HOST_ADDRESS}/{PREFIX}", "dev", TAP)
    ip("link", "set", TAP, "up")
    # The kernel asks for an unknown neighbour once a second: that grain would be in every boot time.
    ip("neigh", "replace", GUEST_ADDRESS, "lladdr", MAC, "dev", TAP, "nud", "permanent")
    # Connections that come and go by the thousand leave their ports waiting for a minute.
    write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
    write("/proc/sys/net/ipv4/tcp_tw_reuse", "1")


def queue_length(packets: int) -> None:
    """Length of the queue towards the guest. Short while it boots: what the poller sent before
    the guest listened must not pile up."""
    ip("link", "set", TAP, "txqueuelen", str(packets))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
