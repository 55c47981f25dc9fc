"""Builds the Go programs of go/bench, and the plugin that counts."""

import os
import subprocess
from pathlib import Path

from . import paths


def go_program(name: str, into: Path, version: str | None = None, module: Path = paths.ROOT / "go" / "bench") -> None:
    """`version` of Go: X.Y.Z, which Go fetches; by default the installed one."""
    # GOENV=off: a user's own settings must not reach the programs that are compared.
    settings = {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOENV": "off", "GOFLAGS": "", "GOWORK": "off"}
    if version:
        settings["GOTOOLCHAIN"] = f"go{version}"
    into.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(into), f"./{name}"], cwd=module,
                   env=os.environ | settings, check=True)


def plugin(into: Path) -> None:
    subprocess.run(["cc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-fvisibility=hidden", "-o", str(into),
                    str(paths.ROOT / "bench" / "plugin" / "profile.c")], check=True)
