"""The files of the sample, for the self-test alone: every type, flag and kind of content."""

import os

from blake3 import blake3

import scribe
from author import PAGE, SEGMENT
from entry import BLOCK, CHARACTER, DIRECTORY, FIFO, FILE, SOCKET, SYMLINK, Entry
from primitives import keyed_hash
from scribe import CUT, PAGES, WHOLE, content, content_above, u8

KIB = 1024


def noise(name, length):
    return blake3(name.encode()).digest(length=length)


def words(name, length):
    return (f"{name}: a line that compresses well\n".encode() * length)[:length]


def entry(path, type, **more):
    """An entry whose numbers follow from its path."""
    path = os.fsencode(path)
    salt = keyed_hash(bytes(32), path, 4)
    times = {"modified": (1_600_000_000 + salt[0] * 99_999, salt[1] * 1_000_001)}
    times["changed"] = (1_700_000_000 + salt[2], salt[3])
    mode = {DIRECTORY: 0o755, SYMLINK: 0o777}.get(type, 0o640)
    owner = {"uid": 1000, "gid": 100, "user": "someone", "group": "users"}
    return Entry(path, type, more.pop("flags", 0), **{"mode": mode, **owner, **times, **more})


def file(author, path, data, kind=CUT, zipped=True, **more):
    """A file of one chunk."""
    stored = content(kind, 0 if kind == WHOLE else KIB, author.store(data, zipped=zipped))
    more = {"size": len(data), "content": stored if data else [u8(0)], **more}
    return entry(path, FILE, **more), data


def lists(author, path, parts, levels):
    """A file whose chunks stand in lists of so many levels."""
    items = author.store(*parts)
    covered = [len(part) for part in parts]
    for level in range(levels):
        halves = [half for half in (items[:3], items[3:]) if half]
        ref = [author.node(scribe.list_node(level, half)) for half in halves]
        covered = [sum(covered[:3]), sum(covered[3:])][: len(ref)]
        items = list(zip(covered, ref, strict=True))
    data = b"".join(parts)
    return entry(path, FILE, size=len(data), content=content_above(CUT, KIB, levels, items)), data


def sparse(author, path, size, runs, nodes=False):
    """A file of holes and runs of (hole before, data bytes)."""
    data, packed = bytearray(), b""
    for number, (hole, length) in enumerate(runs):
        part = noise(f"{path} {number}", length)
        data += bytes(hole) + part
        packed += part
    data += bytes(size - len(data))
    if nodes:
        refs = [author.node(scribe.extents_node(half)) for half in (runs[:2], runs[2:])]
        extents = [u8(1), len(refs), *refs]
    else:
        extents = [u8(0), len(runs), *(number for run in runs for number in run)]
    stored = content(CUT, KIB, author.store(packed)) if packed else [u8(0)]
    return entry(path, FILE, flags=4, size=size, extents=extents, content=stored), bytes(data)


def special():
    """Entries without bytes."""
    none = [
        entry("", DIRECTORY, mode=0o750),
        entry("deep", DIRECTORY, mode=0o1777),
        entry("deep/er", DIRECTORY, mode=0o2755, modified=(-5, 999_999_999)),
        entry("deep/link", SYMLINK, target=b"../nowhere/\xff"),
        entry("deep/er/fifo", FIFO),
        entry("deep/er/socket", SOCKET, inode=2**64 - 1),
        entry("deep/er/tty", CHARACTER, device=(5, 0), inode=1),
        entry("deep/er/loop", BLOCK, device=(7, 300)),
    ]
    return [(one, None) for one in none]


def plain_files(author):
    attributes = [(b"user.empty", b""), (b"user.some", b"\x00\xff")]
    twice = words("twice", 2000)
    runs = [(0, 4096), (65_536, 1), (4095, 9), (300_000, 77)]
    same = {"flags": 2, "links": (0, 2), "inode": 4242, "modified": (7, 7), "changed": (8, 8)}
    return [
        file(author, "empty", b""),
        file(author, "deep/raw", noise("raw", 3000), zipped=False),
        file(author, "deep/zipped", words("zipped", 30_000)),
        file(author, "deep-er", b"sorts after all of deep/"),
        file(author, "setuid", words("setuid", 100), mode=0o4711, uid=0, gid=0, user="root"),
        file(author, "attributes", b"x", flags=1, xattrs=attributes),
        file(author, "twice-1", twice, **same),
        file(author, "twice-2", twice, **same),
        file(author, "no-dump", b"x", flags=128, inode_flags=64),
        file(author, "name-\udcff-\u00e9", b"not UTF-8"),
        file(author, "segment", noise("segment", 4096), WHOLE, user=None, group=None),
        lists(author, "lists-1", [noise(f"one {n}", 700) for n in range(5)], 1),
        lists(author, "lists-2", [words(f"two {n}", 900) for n in range(5)], 2),
        sparse(author, "sparse", 1 << 20, [(65_536, 4096), (131_072, 5000)]),
        sparse(author, "sparse-nodes", 1 << 20, runs, nodes=True),
        sparse(author, "sparse-all", 123_456, []),
    ]


def database(version):
    """Pages of a file that grows and changes: one whole segment and a bit, with a short page."""
    data = bytearray(SEGMENT + 3 * PAGE + 100)
    for page in (0, 1, 2, 9, 10, 700, 4090, 4095, 4096, 4097, 4099):
        part = data[page * PAGE : (page + 1) * PAGE]
        data[page * PAGE : (page + 1) * PAGE] = noise(f"page {page}", len(part))
    if version == 2:
        data += words("grown", 2 * PAGE - 60)
        data[PAGE : 3 * PAGE] = noise("changed", PAGE) + bytes(PAGE)
        data[4094 * PAGE : 4096 * PAGE] = noise("changed too", 2 * PAGE)
    return bytes(data)


def paged(path, data, maps, **more):
    stored = content(PAGES, PAGE, maps)
    return entry(path, FILE, **{"size": len(data), "content": stored, **more}), data


def pages_source(author):
    """Full page maps: named in the leaf, in a list node, and of a file with holes."""
    data = database(1)
    maps = [author.full(data[:SEGMENT]), author.full(data[SEGMENT:])]
    listed = author.node(scribe.list_node(0, maps))
    above = content_above(PAGES, PAGE, 1, [(len(data), listed)])
    holes = database(1)[: 4 * PAGE] + bytes(200 * PAGE) + b"after the hole"
    extents = [u8(0), 2, 0, 4 * PAGE, 200 * PAGE, 14]
    files = [
        (entry("", DIRECTORY), None),
        paged("database", data, maps),
        paged("listed", data, maps, content=above),
        paged("holes", holes, [author.full(holes)], flags=4, extents=extents),
    ]
    author.source("pages", files)
    return maps
