"""What the figures were taken on."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.bench import Table

PACKAGES = ("numpy", "msgspec", "uvicorn", "uvloop", "pyVoIP", "matplotlib")


def _first_line(path: str, begin: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(begin)), "unknown")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return found.stdout.strip()


def _sipp() -> str:
    if shutil.which("sipp") is None:
        return "not installed"
    told = subprocess.run(["sipp", "-v"], capture_output=True, text=True, check=False).stdout
    return next((line.strip(" .") for line in told.splitlines() if "SIPp v" in line), "unknown")


def rows() -> Iterator[tuple[str, str]]:
    revision = _git("rev-parse", "--short", "HEAD") or "unknown"
    yield "date", dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    yield "processor", f"{_first_line('/proc/cpuinfo', 'model name')}, {os.cpu_count()} CPUs"
    yield "memory", _first_line("/proc/meminfo", "MemTotal")
    yield "kernel", f"{platform.system()} {platform.release()} {platform.machine()}"
    yield "Python", f"{platform.python_implementation()} {platform.python_version()}"
    yield "Ivrea", f"{_version('ivrea')}, revision {revision}{' with changes' if _git('status', '--porcelain') else ''}"
    yield "packages", ", ".join(f"{package} {_version(package)}" for package in PACKAGES)
    yield "SIPp", _sipp()
    yield "load at the start", " ".join(f"{load:.2f}" for load in os.getloadavg())


def table() -> Table:
    return Table(["", ""], [[name, value] for name, value in rows()])
