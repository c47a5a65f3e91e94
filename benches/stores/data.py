"""The data: the race's random file, a tree of a million files beside one large file, and ten sources.

Made once from a seed and kept in the work directory, as the race does it.
"""

import random
from pathlib import Path

import datasets
from datasets import random_bytes

# Every file is a chunk of its own, so the repository has at least as many chunks.
FILES = 1_000_000
FILES_IN_DIRECTORY = 1_000
FILE_BYTES = 100
LARGE = "large.bin"
LARGE_BYTES = 256 << 20
CHANGED_SHARE = 0.001
PAGE_BYTES = 8192
SOURCES = 10
FILES_IN_SOURCE = 1_000
OBJECT_BYTES = 32 << 20


class Million:
    """`million`: small files whose contents are all different, and one large one."""

    NAME = "million"
    RECIPE = 1

    @staticmethod
    def make(tree: Path, scale: float) -> None:
        rng = random.Random("backstay/million/make")
        files = max(FILES_IN_DIRECTORY, round(FILES * scale))
        for number in range(files):
            path = tree / file_name(number)
            if number % FILES_IN_DIRECTORY == 0:
                path.parent.mkdir()
            path.write_bytes(b"%08d" % number + rng.randbytes(FILE_BYTES - 8))
        random_bytes_to(tree / LARGE, max(PAGE_BYTES * 1000, int(LARGE_BYTES * scale)), rng)


class Ten:
    """`ten`: ten directories of small files."""

    NAME = "ten"
    RECIPE = 2

    @staticmethod
    def make(tree: Path, scale: float) -> None:
        rng = random.Random("backstay/ten/make")
        for source in range(SOURCES):
            directory = tree / f"source-{source}"
            directory.mkdir()
            for number in range(max(1, round(FILES_IN_SOURCE * scale))):
                # Trees are cut by names: were they the same in all sources, all ten would have one shape.
                (directory / f"file-{source}-{number:06}").write_bytes(rng.randbytes(FILE_BYTES))


class Pieces:
    """`pieces`: the random file in files of 32 MiB, for clients that know nothing but files."""

    NAME = "pieces"
    RECIPE = 1

    @staticmethod
    def make(tree: Path, scale: float) -> None:
        whole = tree / "random.bin"
        random_bytes.make(tree, scale)
        with whole.open("rb") as file:
            number = 0
            while piece := file.read(OBJECT_BYTES):
                (tree / f"{number:06}").write_bytes(piece)
                number += 1
        whole.unlink()


datasets.ALL |= {made.NAME: made for made in (Million, Ten, Pieces)}


def file_name(number: int) -> str:
    return f"dir-{number // FILES_IN_DIRECTORY:04}/file-{number:06}"


def random_bytes_to(path: Path, size_bytes: int, rng: random.Random) -> None:
    """Writes a file of random bytes."""
    with path.open("wb") as file:
        while size_bytes > 0:
            block = rng.randbytes(min(1 << 20, size_bytes))
            file.write(block)
            size_bytes -= len(block)


def change(path: Path) -> int:
    """Turns every bit of scattered pages, a thousandth of all; a second call turns them back. Returns bytes."""
    rng = random.Random("backstay/million/change")
    pages = path.stat().st_size // PAGE_BYTES
    chosen = rng.sample(range(pages), max(1, round(pages * CHANGED_SHARE)))
    with path.open("r+b") as file:
        for page in chosen:
            file.seek(page * PAGE_BYTES)
            turned = bytes(byte ^ 0xFF for byte in file.read(PAGE_BYTES))
            file.seek(page * PAGE_BYTES)
            file.write(turned)
    return len(chosen) * PAGE_BYTES
