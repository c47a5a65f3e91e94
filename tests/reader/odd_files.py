"""Files of the sample about which a backup knows less than it seems, for the self-test alone.

Entries that look like names of one file and are not, what a backup did not look at, and a log.
"""

from entry import CHARACTER, DIRECTORY, FIFO, FILE, NAME, SYMLINK
from files import entry, file, noise, words
from scribe import WHOLE, u8


def look_linked(author):
    """Equal volumes and inodes prove nothing: each of these is a file of its own, but the last
    two."""
    data, other = words("alike", 700), words("other", 700)
    same = {"flags": 2, "links": (0, 2), "inode": 4243, "modified": (7, 7), "changed": (8, 8)}
    device = {**same, "uid": 0, "links": (2**64 - 1, 3)}
    return [
        file(author, "alike-1", data, **same),
        file(author, "alike-bytes", other, **same),
        file(author, "alike-mode", data, **{**same, "mode": 0o600}),
        file(author, "alike-owner", data, **{**same, "uid": 1001}),
        file(author, "alike-size", data + b"x", **same),
        file(author, "alike-time", data, **{**same, "modified": (7, 8)}),
        file(author, "alike-volume", data, **{**same, "links": (9, 2)}),
        (entry("alike-link-1", SYMLINK, target=b"1", **same), None),
        (entry("alike-link-2", SYMLINK, target=b"2", **same), None),
        (entry("alike-device-1", CHARACTER, device=(5, 0), **device), None),
        (entry("alike-device-2", CHARACTER, device=(5, 1), **device), None),
        (entry("alike-device-3", CHARACTER, device=(5, 1), **device), None),
    ]


def not_looked_at(author):
    """What a backup could not or should not look at, beside what it has."""
    nothing = {"uid": 0, "gid": 0, "user": None, "group": None, "mode": 0}
    nothing |= {"modified": (0, 0), "changed": (0, 0)}
    return [
        (entry("", DIRECTORY), None),
        (entry("lost", FILE, flags=16, size=77, content=[u8(0)]), None),
        file(author, "changed", words("changed", 500), flags=8),
        file(author, "attributes", b"x", flags=64 | 1, xattrs=[(b"user.some", b"1")]),
        (entry("fifo", FIFO, flags=64), None),
        (entry("unlisted", DIRECTORY, flags=16), None),
        file(author, "unlisted/found", b"before the listing failed"),
        (entry("other-file-system", DIRECTORY, flags=32, mode=0o700), None),
        (entry("cache", DIRECTORY, flags=32), None),
        file(author, "cache/CACHEDIR.TAG", b"Signature: 8a477f597d28d172789f06886806bc55"),
        (entry("unknown", NAME, flags=16, **nothing), None),
        (entry("excluded", NAME, flags=32, **nothing), None),
    ]


LOG = {0: bytes(range(16)), 1: 9, 2: 12, 3: 13, 4: [[7, 7], [10, 10]], 5: "0", 6: ".wal", 7: 16}
LOG |= {8: [bytes(16), 6], 9: 14, 10: [bytes(16), b"\1" * 16], 11: 77, 12: bytes(range(16)), 13: 12}


def segments(author):
    names = ("09.wal", "0b.wal", "0c.wal")
    files = [file(author, name, noise(name, 2000), WHOLE) for name in names]
    author.source("log", [(entry("", DIRECTORY), None), *files], kind="wal", facts=LOG)
