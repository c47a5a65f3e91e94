"""Backstay's memory where it would hurt: ten million files in one directory, and a mostly empty giant.

No race, since most rivals would not finish: only peak memory is judged, against the same limit as
everywhere. Each set goes through a first backup, an unchanged one and a restore, and the restore is
checked: all names, or all data and no more data than there was.
"""

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import loop
from measure import MIB, Command, ToolFailed, launch, take
from targets import PEAK_LIMIT_MIB, Verdict, held
from tools import backstay
from tools.bed import Bed

FILES = 10_000_000
SPARSE_BYTES = 100 * 10**9
DATA_BYTES = 2 * 10**9
EXTENT_BYTES = 4 * MIB
INODE_BYTES = 128


def run(program: str, root: Path, scale: float, say: Callable[[str], None]) -> list[Verdict]:
    """Both measurements, printed as they come."""
    root.mkdir(parents=True, exist_ok=True)
    files = max(1, int(FILES * scale))
    with many_place(root, files) as place:
        say("making the many files")
        make_many(place / "data", files)
        verdicts = measure(program, root, place, f"{files:,} empty files in one directory", same_names, say)
    place = root / "sparse"
    try:
        say("making the sparse file")
        make_sparse(place / "data", scale)
        title = f"{SPARSE_BYTES * scale / 1e9:g} GB sparse file with {DATA_BYTES * scale / 1e9:g} GB of data"
        return verdicts + measure(program, root, place, title, same_data, say)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def measure(program: str, root: Path, place: Path, title: str, compare: Callable, say: Callable) -> list[Verdict]:
    """First backup, unchanged backup, restore."""
    bed = Bed(root / "bed", program, root / "backstay.log")
    bed.lay()
    environment = bed.environment() | backstay.environment(bed)
    live, to = place / "data", place / "restored"
    to.mkdir()
    for arguments in backstay.prepare(bed):
        launch(Command([program, *arguments], environment, bed.home), bed.log)
    steps = {
        "first": backstay.backup(bed, live, 1),
        "unchanged": backstay.backup(bed, live, 2),
        "restore": backstay.restore(bed, live, to, 2),
    }
    print(f"\n== {title}", flush=True)
    verdicts = []
    for step, arguments in steps.items():
        say(f"{title}: {step}")
        taken = take(Command([program, *arguments], environment, bed.home), bed.log, place)
        verdicts.append(held("peak_mib", taken.peak_mib, PEAK_LIMIT_MIB, "limit", 1.0))
        word = "pass" if verdicts[-1].passed else "SHORT"
        figures = f"peak {taken.peak_mib:6.0f} MiB   wall {taken.wall_s:8.1f} s   CPU {taken.cpu_s:8.1f} s"
        print(f"  {step:10} {figures}   at most {PEAK_LIMIT_MIB} MiB  {word}", flush=True)
    compare(live, backstay.restored(live, to))
    bed.clear()
    return verdicts


@contextmanager
def many_place(root: Path, files: int) -> Iterator[Path]:
    """A directory with inodes for the files and their restored copies: here, or on a loop-mounted ext4."""
    place = root / "many"
    place.mkdir(exist_ok=True)
    inodes = int(files * 2.1) + 1000
    try:
        # Half of what is free stays free: others live on this file system too.
        if os.statvfs(place).f_favail >= 2 * inodes:
            yield place
        else:
            options = ["-N", str(inodes), "-I", str(INODE_BYTES), "-O", "large_dir"]
            with loop.mounted(root / "many.img", place, inodes * (INODE_BYTES + 128) + (1 << 30), options):
                yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def make_many(live: Path, files: int) -> None:
    """Creates the empty files."""
    live.mkdir()
    directory = os.open(live, os.O_RDONLY)
    for number in range(files):
        os.mknod(f"file-{number:08}", 0o644, dir_fd=directory)
    os.close(directory)


def make_sparse(live: Path, scale: float) -> None:
    """Writes random extents at random places of a file that is otherwise a hole."""
    shutil.rmtree(live.parent, ignore_errors=True)
    live.mkdir(parents=True)
    rng = random.Random("backstay/huge/sparse")
    places = range(0, max(EXTENT_BYTES, int(SPARSE_BYTES * scale)) - EXTENT_BYTES + 1, EXTENT_BYTES)
    count = min(len(places), max(1, int(DATA_BYTES * scale) // EXTENT_BYTES))
    with (live / "sparse.bin").open("wb") as file:
        file.truncate(int(SPARSE_BYTES * scale))
        for place in sorted(rng.sample(places, count)):
            file.seek(place)
            file.write(rng.randbytes(EXTENT_BYTES))


def same_names(live: Path, restored: Path) -> None:
    """As many names as there were, and the last one among them: a set of ten million would cost a GiB."""
    count = sum(1 for _ in os.scandir(live))
    back = sum(1 for _ in os.scandir(restored))
    if count != back or not (restored / f"file-{count - 1:08}").exists():
        raise ToolFailed(f"{count} files were backed up, {back} restored")


def same_data(live: Path, restored: Path) -> None:
    """The same length, the same bytes in the same extents, and no more of them."""
    with (live / "sparse.bin").open("rb") as a, (restored / "sparse.bin").open("rb") as b:
        if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
            raise ToolFailed("the sparse file has another length")
        if list(extents(a)) != list(extents(b)):
            raise ToolFailed("the sparse file's holes are not where they were")
        for start, end in extents(a):
            for offset in range(start, end, MIB):
                wanted = min(MIB, end - offset)
                if os.pread(a.fileno(), wanted, offset) != os.pread(b.fileno(), wanted, offset):
                    raise ToolFailed(f"the sparse file differs in the MiB at {offset}")


def extents(file) -> Iterator[tuple[int, int]]:
    """Where data is, from start to end."""
    end = 0
    while True:
        try:
            start = os.lseek(file.fileno(), end, os.SEEK_DATA)
        except OSError:
            return
        end = os.lseek(file.fileno(), start, os.SEEK_HOLE)
        yield start, end
