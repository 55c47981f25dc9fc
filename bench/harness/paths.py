"""Where things are."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
#: What bench/setup makes. Not Cargo's target folder when that lies elsewhere: nothing here is Cargo's.
WORK = ROOT / "target" / "bench"
BIN = WORK / "bin"
RESULTS = ROOT / "bench" / "results"

VMLINUX = WORK / "vmlinux"
MODULES = WORK / "modules"
PLUGIN = BIN / "profile.so"
CLIENT = BIN / "client"


def output_of(*command: str) -> str:
    """Standard output of a command, or nothing when it fails."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def commit() -> str:
    """The commit that is measured, with a + when files differ from it."""
    name = output_of("git", "rev-parse", "--short=9", "HEAD") or "unknown"
    changed = output_of("git", "status", "--porcelain", "--untracked-files=no")
    return name + ("+" if changed else "")


def need(path: Path) -> Path:
    """The path, or the end of the program with a hint."""
    if not path.exists():
        raise SystemExit(f"{os.path.relpath(path)} is missing: run bench/setup")
    return path


@functools.cache
def temporary() -> Path:
    """A folder for what only this run needs; it goes at the end."""
    WORK.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=WORK))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
