"""Measuring one command fairly: clean pages before, a warm cache, a launcher that adds nothing.

Every tool's measurement goes through `take`, so none is measured another way than the rest.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launcher.py")
MIB = 1024 * 1024


class ToolFailed(Exception):
    """A tool ended with an error, or what it restored was not what was backed up."""


@dataclass
class Command:
    """What to run, where, and in which environment."""

    argv: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    directory: Path = Path("/")


@dataclass
class Taken:
    """The figures of one run of one command; `sync_s` comes after the command and is not in `wall_s`."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    sync_s: float = 0.0


def take(command: Command, log: Path, written: Path) -> Taken:
    """Runs and measures a command, then measures how long its writes under `written` take to be durable."""
    os.sync()
    touch_free_memory()
    taken = launch(command, log)
    begun = time.monotonic()
    subprocess.run(["sync", "-f", str(written)], check=True)
    taken.sync_s = time.monotonic() - begun
    return taken


TOUCH = """
import mmap, sys
area = mmap.mmap(-1, int(sys.argv[1]), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
area.madvise(mmap.MADV_HUGEPAGE)
for at in range(0, len(area), 4096):
    area[at] = 1
"""
KEPT_FREE_MIB = 768
# What a step needs at most: what is freed last is used first.
TOUCHED_MIB = 4096


def touch_free_memory() -> None:
    """Uses what memory is free once and gives it back.

    The host of a virtual machine may have taken free memory away; whoever needs it first pays for
    getting it again, which was seen to make the same write of 1.2 GiB take 0.25 s or 3 s.
    """
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free_mib = int(fields["MemFree"].split()[0]) // 1024 - KEPT_FREE_MIB
    if free_mib > 0:
        touched = str(min(free_mib, TOUCHED_MIB) * MIB)
        subprocess.run([sys.executable, "-I", "-S", "-c", TOUCH, touched], check=True)


def launch(command: Command, log: Path) -> Taken:
    """Runs a command through the launcher. Raises `ToolFailed` with the end of its log."""
    start_bytes = log.stat().st_size if log.exists() else 0
    with tempfile.NamedTemporaryFile("r") as result:
        head = [sys.executable, "-I", "-S", str(LAUNCHER)]
        argv = [*head, result.name, str(log), str(command.directory), *command.argv]
        subprocess.run(argv, env=command.environment, check=True)
        wall_s, cpu_s, peak_kib, status = result.read().split()
    if int(status) != 0:
        raise ToolFailed(f"{' '.join(command.argv[:3])} … ended with {status}: {log_tail(log, start_bytes)}")
    return Taken(float(wall_s), float(cpu_s), int(peak_kib) / 1024)


def log_tail(log: Path, start_bytes: int) -> str:
    """The last lines that a command printed, on one line."""
    with log.open("rb") as file:
        file.seek(start_bytes)
        lines = file.read().decode(errors="replace").split("\n")
    return " | ".join([line.strip() for line in lines if line.strip()][-4:]) or f"see {log}"


def warm(tree: Path) -> None:
    """Reads every byte below `tree` once, so that nobody's measurement pays for the first read."""
    buffer = bytearray(MIB)
    for directory, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path):
                continue
            with open(path, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def stored_bytes(tree: Path) -> int:
    """The length of all files below `tree`: what a repository would cost in a bucket."""
    return sum(
        os.lstat(os.path.join(directory, name)).st_size
        for directory, _, names in os.walk(tree)
        for name in names
    )
