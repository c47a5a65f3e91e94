"""A file system of one's own for as long as it is needed: an ext4 image, mounted through a loop device.

Two needs meet here. The race wants the same fresh state for every round (`--loop`); ten million files
want more inodes than a disk may have to spare (`--huge`).
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class NoLoop(Exception):
    """Such a mount is not to be had here; the message says why."""


@contextmanager
def mounted(image: Path, place: Path, size_bytes: int, options: list[str]) -> Iterator[Path]:
    """Makes and mounts an image at `place`, and takes both away at the end. It is sparse: it grows with use."""
    if os.geteuid() != 0:
        raise NoLoop("a loop mount needs root")
    place.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(size_bytes)
    try:
        # Nothing is left for the kernel to write in the background during a measurement.
        call("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0", *options, str(image))
        call("mount", "-o", "loop", str(image), str(place))
        try:
            yield place
        finally:
            call("umount", str(place))
    finally:
        image.unlink()


def call(*argv: str) -> None:
    """Runs a system program; its words become ours if it fails."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True)
    except OSError as error:
        raise NoLoop(f"{argv[0]}: {error}") from error
    if done.returncode != 0:
        raise NoLoop(f"{argv[0]}: {done.stderr.strip()}")
