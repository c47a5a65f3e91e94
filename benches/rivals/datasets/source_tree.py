"""`source`: a tree of real source code, then one file in a hundred edited a little.

The material is what a developer's computer has: crate sources, the standard libraries of Go and
Python, C headers, documentation. It is taken in a fixed order until the size is reached. Where it
runs out, copies follow whose identifiers are swapped, so that their chunks are new, as they would
be in real code. The result depends on the material, so it is compared within one run only.
"""

import os
import random
import sysconfig
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

from .missing import Missing
from .swap import swap_identifiers

NAME = "source"
RECIPE = 2
SIZE_BYTES = 900 << 20
FILES = 60_000
LARGEST_BYTES = 2 << 20
CHANGED_SHARE = 0.01
# Files by which some tools are told to skip things. Kopia obeys the first by default.
TOLD_TO_SKIP = {"CACHEDIR.TAG", ".kopiaignore", ".nobackup"}
# Of the files that would draw the mean size further from what is wanted.
SKIPPED_SHARE = 0.8


def make(tree: Path, scale: float) -> None:
    """Copies material until the bytes or the number of files are reached."""
    room = Room(int(SIZE_BYTES * scale), int(FILES * scale))
    rounds = 0
    while not room.full():
        before = room.files
        for label, path, content in material():
            if room.full():
                break
            rng = random.Random(f"backstay/source/{rounds}/{label}/{path}")
            if not room.wants(len(content)) and rng.random() < SKIPPED_SHARE:
                continue
            text = swap_identifiers(content, rng) if rounds else content
            put(tree / (f"copy-{rounds}" if rounds else "") / label / path, text, rng)
            room.took(len(text))
        if room.files == before:
            raise Missing("no source code found: see `roots` in datasets/source_tree.py")
        rounds += 1


class Room:
    """How much is still to be written."""

    def __init__(self, size_bytes: int, files: int):
        self.size_bytes, self.wanted_files = size_bytes, files
        self.bytes = self.files = 0

    def took(self, size_bytes: int) -> None:
        self.bytes += size_bytes
        self.files += 1

    def shares(self) -> tuple[float, float]:
        """How far bytes and files have come."""
        return self.bytes / self.size_bytes, self.files / self.wanted_files

    def wants(self, size_bytes: int) -> bool:
        """Large files while bytes lag behind files, small ones otherwise: both numbers are to be met."""
        bytes_share, files_share = self.shares()
        return (size_bytes >= self.size_bytes / self.wanted_files) == (bytes_share < files_share)

    def full(self) -> bool:
        """Both are wanted; a tenth more of either is the end, so that neither runs away."""
        return min(self.shares()) >= 1 or max(self.shares()) >= 1.1


def roots() -> list[tuple[str, Path]]:
    """Where source code usually lies, most typical first."""
    home = Path.home()
    cargo = Path(os.environ.get("CARGO_HOME", home / ".cargo"))
    rustup = Path(os.environ.get("RUSTUP_HOME", home / ".rustup"))
    return [
        ("crates", cargo / "registry/src"),
        ("go", Path(os.environ.get("GOROOT", "/usr/local/go")) / "src"),
        ("include", Path("/usr/include")),
        ("python", Path(sysconfig.get_path("stdlib"))),
        ("python3", Path("/usr/lib/python3")),
        ("perl", Path("/usr/share/perl")),
        ("doc", Path("/usr/share/doc")),
        ("rust", rustup / "toolchains"),
    ]


def material() -> Iterator[tuple[str, str, bytes]]:
    """Every text file of the roots: label, path, content. A content seen before is left out."""
    seen = set()
    for label, root in roots():
        for path in text_files(root):
            try:
                content = path.read_bytes()
            except OSError:
                continue
            mark = blake2b(content, digest_size=16).digest()
            if mark in seen or b"\0" in content[:4096]:
                continue
            seen.add(mark)
            yield label, str(path.relative_to(root)), content


def text_files(root: Path) -> Iterator[Path]:
    """Regular files of a source file's size, in an order that doesn't depend on the file system."""
    for directory, directories, names in os.walk(root):
        directories.sort()
        for name in sorted(names):
            path = Path(directory, name)
            if name in TOLD_TO_SKIP:
                continue
            if path.is_file() and not path.is_symlink() and path.stat().st_size <= LARGEST_BYTES:
                yield path


def put(path: Path, content: bytes, rng: random.Random) -> None:
    """Writes a file with a time some years back, as a checkout that has lived a while."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    time_ns = rng.randrange(1_600_000_000, 1_700_000_000) * 1_000_000_000 + rng.randrange(1_000_000_000)
    os.utime(path, ns=(time_ns, time_ns))


def change(tree: Path, scale: float, run_pages: int) -> dict:
    """Edits one line in each of a hundredth of the files."""
    del scale, run_pages
    rng = random.Random("backstay/source/change")
    paths = sorted(path for path in tree.rglob("*") if path.is_file())
    chosen = rng.sample(paths, max(1, round(len(paths) * CHANGED_SHARE)))
    for path in chosen:
        lines = path.read_bytes().split(b"\n")
        edited = rng.randrange(len(lines))
        lines[edited] += b" // edited %d" % rng.randrange(1_000_000)
        path.write_bytes(b"\n".join(lines))
    return {"changed_files": len(chosen), "changed_bytes": sum(path.stat().st_size for path in chosen)}
