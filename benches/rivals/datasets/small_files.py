"""`small`: many small files in many directories, then a hundredth of them rewritten.

What is measured is the cost of a file, not of a byte: opening, stating, recording, and on the way
back creating. Sizes are log-normal, as in mail stores, manifests and caches.
"""

import math
import random
from pathlib import Path

from .words import Words

NAME = "small"
RECIPE = 1
FILES = 100_000
DIRECTORIES = 1_000
CHANGED = 1_000
MEAN_BYTES = 3 * 1024
SIGMA = 1.0
LARGEST_BYTES = 256 * 1024


def make(tree: Path, scale: float) -> None:
    """Writes the files, spread evenly over the directories."""
    directories = scaled(DIRECTORIES, scale)
    for number in range(directories):
        (tree / directory_name(number)).mkdir()
    words = Words("backstay/small/make")
    for number in range(scaled(FILES, scale)):
        file_path(tree, number, directories).write_bytes(words.text(size_bytes(words.rng)))


def change(tree: Path, scale: float, run_pages: int) -> dict:
    """Rewrites files with new content of a new size."""
    del run_pages
    words = Words("backstay/small/change")
    numbers = words.rng.sample(range(scaled(FILES, scale)), scaled(CHANGED, scale))
    written_bytes = 0
    for number in numbers:
        text = words.text(size_bytes(words.rng))
        file_path(tree, number, scaled(DIRECTORIES, scale)).write_bytes(text)
        written_bytes += len(text)
    return {"changed_files": len(numbers), "changed_bytes": written_bytes}


def scaled(number: int, scale: float) -> int:
    """A count at this scale, at least one."""
    return max(1, round(number * scale))


def directory_name(number: int) -> str:
    return f"dir-{number:04}"


def file_path(tree: Path, number: int, directories: int) -> Path:
    return tree / directory_name(number % directories) / f"file-{number:06}.txt"


def size_bytes(rng: random.Random) -> int:
    """Log-normal with the mean that this file promises."""
    mu = math.log(MEAN_BYTES) - SIGMA**2 / 2
    return min(LARGEST_BYTES, max(1, int(rng.lognormvariate(mu, SIGMA))))
