"""Is a restored tree what was backed up? Names, kinds, sizes, modes, times and every byte.

Runs outside the timing. A tool whose restore differs has no figure for it: a fast wrong restore is
worth nothing. Times of directories are left out, because some tools leave them as the writing of
the files made them; that is a matter for a conformance test, not for a race.
"""

import os
import stat
from pathlib import Path

BLOCK_BYTES = 1 << 20


def difference(original: Path, restored: Path) -> str | None:
    """The first difference found, in words; None if there is none."""
    want, have = listing(original), listing(restored)
    for name in sorted(want.keys() | have.keys()):
        if name not in have:
            return f"{name} is missing"
        if name not in want:
            return f"{name} was not in the source"
        found = entry_difference(original / name, want[name], restored / name, have[name])
        if found:
            return f"{name}: {found}"
    return None


def listing(root: Path) -> dict[str, os.stat_result]:
    """Every entry below `root`, by its path relative to it."""
    entries = {}
    waiting = [""]
    while waiting:
        parent = waiting.pop()
        with os.scandir(root / parent) as children:
            for child in children:
                name = os.path.join(parent, child.name)
                entries[name] = child.stat(follow_symlinks=False)
                if child.is_dir(follow_symlinks=False):
                    waiting.append(name)
    return entries


def entry_difference(a: Path, a_stat: os.stat_result, b: Path, b_stat: os.stat_result) -> str | None:
    """What differs between two entries of one name."""
    if a_stat.st_mode != b_stat.st_mode:
        return f"mode {a_stat.st_mode:o} became {b_stat.st_mode:o}"
    if stat.S_ISLNK(a_stat.st_mode):
        return None if os.readlink(a) == os.readlink(b) else "the link points elsewhere"
    if not stat.S_ISREG(a_stat.st_mode):
        return None
    if a_stat.st_size != b_stat.st_size:
        return f"{a_stat.st_size} bytes became {b_stat.st_size}"
    if a_stat.st_mtime_ns != b_stat.st_mtime_ns:
        return f"its time {a_stat.st_mtime_ns} became {b_stat.st_mtime_ns}"
    return None if same_content(a, b) else "the content differs"


def same_content(a: Path, b: Path) -> bool:
    """Compares two files of one length byte by byte."""
    with a.open("rb") as left, b.open("rb") as right:
        while block := left.read(BLOCK_BYTES):
            if block != right.read(len(block)):
                return False
    return True
