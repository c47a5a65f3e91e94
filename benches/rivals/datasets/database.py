"""`database`: a real PostgreSQL data directory, then 3 % of its 8-KiB pages changed in place.

PostgreSQL itself makes it (`pgbench -i`, a little load, a clean stop), so page headers, indexes,
free space and WAL are what they are in life. pgbench's padding compresses very well, so sizes here
flatter every tool alike: read the ratios.

Changes come in runs of neighbouring pages, because real load has locality. Pages scattered one by
one (`--run-pages 1`) touch nearly every chunk of a tool that cuts by content, which flatters a tool
that cuts by page.
"""

import os
import pwd
import random
import re
import shutil
import string
import subprocess
import tempfile
from pathlib import Path

from . import compressed
from .missing import Missing

NAME = "database"
RECIPE = 1
PGBENCH_SCALE = 75
PAGE_BYTES = 8192
CHANGED_SHARE = 0.03
# Past the header and the first line pointers: where tuples are.
FIRST_OFFSET_BYTES = 512
STRETCHES = 3
STRETCH_BYTES = 50
RELATION = re.compile(r"base/\d+/\d+(\.\d+)?$")
INITDB_OPTIONS = ("-E", "UTF8", "--locale=C", "--no-sync")
SERVER_OPTIONS = (
    "-c listen_addresses='' -c fsync=off -c wal_level=minimal -c max_wal_senders=0 "
    "-c max_wal_size=128MB -c min_wal_size=80MB"
)


def make(tree: Path, scale: float) -> None:
    """Lets PostgreSQL make its data directory, then moves it into `tree`."""
    programs = find_programs()
    account = server_account()
    # Not in the work directory: the server's account may not be allowed to enter that.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/var/tmp") as place:
        if account:
            os.chown(place, account.pw_uid, account.pw_gid)
        data = Path(place, "data")
        server = Server(programs, account, Path(place))
        server.call("initdb", "-D", str(data), "-U", "bench", "-A", "trust", *INITDB_OPTIONS)
        start = ["-l", f"{place}/log", "-o", f"{SERVER_OPTIONS} -k {place}", "-w", "start"]
        server.call("pg_ctl", "-D", str(data), *start)
        pgbench = ["pgbench", "-h", place, "-U", "bench"]
        try:
            pgbench_scale = max(1, round(PGBENCH_SCALE * scale))
            server.call(*pgbench, "-i", "-q", "-s", str(pgbench_scale), "postgres")
            server.call(*pgbench, "-c", "2", "-t", "500", "--random-seed=1", "postgres")
        finally:
            server.call("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
        for child in data.iterdir():
            shutil.move(str(child), str(tree / child.name))


class Server:
    """PostgreSQL's programs, run as an account that they accept (they refuse root)."""

    def __init__(self, programs: Path, account: pwd.struct_passwd | None, place: Path):
        self.programs, self.place = programs, place
        self.identity = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []} if account else {}

    def call(self, program: str, *arguments: str) -> None:
        argv = [str(self.programs / program), *arguments]
        # To a file, not a pipe: the server that pg_ctl leaves running would hold a pipe open.
        with (self.place / "output").open("a+b") as output:
            done = subprocess.run(argv, cwd=self.place, stdout=output, stderr=subprocess.STDOUT, **self.identity)
            if done.returncode != 0:
                output.seek(0)
                raise RuntimeError(f"{program}: {output.read()[-2000:].decode(errors='replace')}")


def find_programs() -> Path:
    """The directory of PostgreSQL's server programs. Debian keeps them out of PATH."""
    found = [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for programs in found:
        if all((programs / name).exists() for name in ("initdb", "pg_ctl", "pgbench")):
            return programs
    raise Missing("PostgreSQL (initdb, pg_ctl, pgbench) is not installed: benches/rivals/install")


def server_account() -> pwd.struct_passwd | None:
    """Whom root runs the server as; None if we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    return names.get("postgres") or names["nobody"]


def change(tree: Path, scale: float, run_pages: int) -> dict:
    """Overwrites some text in 3 % of the pages; says what those pages compress to."""
    del scale
    rng = random.Random("backstay/database/change")
    counts = relation_pages(tree)
    chosen = choose_pages(rng, counts, run_pages)
    changed = bytearray()
    for path in sorted(chosen):
        with (tree / path).open("r+b", buffering=0) as file:
            for page in sorted(chosen[path]):
                changed += rewrite_page(file, page, rng)
    pages = len(changed) // PAGE_BYTES
    facts = {"changed_pages": pages, "share": round(pages / sum(counts.values()), 4), "run_pages": run_pages}
    return facts | {"changed_bytes": len(changed), "compressed_bytes": compressed.size_bytes(bytes(changed))}


def relation_pages(tree: Path) -> dict[str, int]:
    """The relation files and how many whole pages each has."""
    paths = {str(path.relative_to(tree)): path for path in (tree / "base").rglob("*")}
    counts = {name: path.stat().st_size // PAGE_BYTES for name, path in paths.items() if RELATION.match(name)}
    return dict(sorted((name, pages) for name, pages in counts.items() if pages))


def choose_pages(rng: random.Random, counts: dict[str, int], run_pages: int) -> dict[str, set[int]]:
    """Runs of pages until the share is reached: a place weighted by size, a length around the mean."""
    wanted = round(sum(counts.values()) * CHANGED_SHARE)
    names, weights = list(counts), list(counts.values())
    chosen: dict[str, set[int]] = {}
    while wanted > 0:
        name = rng.choices(names, weights)[0]
        first = rng.randrange(counts[name])
        length = min(wanted, 1 if run_pages == 1 else max(1, round(rng.expovariate(1 / run_pages))))
        run = set(range(first, min(first + length, counts[name]))) - chosen.get(name, set())
        chosen.setdefault(name, set()).update(run)
        wanted -= len(run)
    return chosen


def rewrite_page(file, page: int, rng: random.Random) -> bytes:
    """Overwrites a few stretches of one page with random letters; returns the new page."""
    content = bytearray(os.pread(file.fileno(), PAGE_BYTES, page * PAGE_BYTES))
    for _ in range(STRETCHES):
        offset = rng.randrange(FIRST_OFFSET_BYTES, PAGE_BYTES - STRETCH_BYTES)
        letters = rng.choices(string.ascii_lowercase, k=STRETCH_BYTES)
        content[offset : offset + STRETCH_BYTES] = "".join(letters).encode()
    os.pwrite(file.fileno(), content, page * PAGE_BYTES)
    return bytes(content)
