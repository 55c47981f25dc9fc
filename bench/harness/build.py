"""Builds the Go programs of go/bench."""

import os
import subprocess
from pathlib import Path

from . import paths


def go_program(name: str, into: Path, version: str | None = None) -> None:
    """`version` of Go: X.Y.Z, which Go fetches; by default the installed one."""
    # GOENV=off: a user's own settings must not reach the programs that are compared.
    settings = {"CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": "amd64", "GOENV": "off", "GOFLAGS": "", "GOWORK": "off"}
    if version:
        settings["GOTOOLCHAIN"] = f"go{version}"
    into.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(into), f"./{name}"], cwd=paths.ROOT / "go" / "bench",
                   env=os.environ | settings, check=True)
