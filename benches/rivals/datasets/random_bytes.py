"""`random`: one file of random bytes, then short insertions that shift everything behind them.

Nothing compresses and nothing repeats, so what is measured is the pipe itself: cutting, hashing,
sealing, writing. The insertions show whether cut points follow the content.
"""

import random
from pathlib import Path

NAME = "random"
RECIPE = 1
SIZE_BYTES = 1 << 30
INSERTIONS = 20
INSERTED_BYTES = 100
BLOCK_BYTES = 1 << 20


def make(tree: Path, scale: float) -> None:
    """Writes `random.bin`."""
    rng = random.Random("backstay/random/make")
    left_bytes = max(BLOCK_BYTES, int(SIZE_BYTES * scale))
    with (tree / "random.bin").open("wb") as file:
        while left_bytes > 0:
            block = rng.randbytes(min(BLOCK_BYTES, left_bytes))
            file.write(block)
            left_bytes -= len(block)


def change(tree: Path, scale: float, run_pages: int) -> dict:
    """Inserts 100 random bytes at 20 places. The number of places is never scaled: it is the workload."""
    del scale, run_pages
    rng = random.Random("backstay/random/change")
    path = tree / "random.bin"
    longer = tree / "random.bin.new"
    places = sorted(rng.randrange(path.stat().st_size) for _ in range(INSERTIONS))
    with path.open("rb") as old, longer.open("wb") as new:
        for place in places:
            copy_until(old, new, place)
            new.write(rng.randbytes(INSERTED_BYTES))
        copy_until(old, new, None)
    longer.replace(path)
    return {"insertions": INSERTIONS, "inserted_bytes": INSERTIONS * INSERTED_BYTES}


def copy_until(old, new, place: int | None) -> None:
    """Copies from where `old` stands to byte `place`, or to its end."""
    while place is None or old.tell() < place:
        wanted = BLOCK_BYTES if place is None else min(BLOCK_BYTES, place - old.tell())
        block = old.read(wanted)
        if not block:
            return
        new.write(block)
