"""Entries: what a tree says of each path.

Implements what FORMAT.md §8 says of entries themselves: their order and the fingerprint of a leaf.
"""

from dataclasses import dataclass, field

from primitives import keyed_hash

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(1, 8)
XATTRS, HARD_LINKED, SPARSE, CHANGED, NOT_STORED = 1, 2, 4, 8, 16
U64 = 1 << 64


@dataclass
class Entry:
    path: bytes
    type: int
    flags: int
    mode: int = 0
    uid: int = 0
    gid: int = 0
    user: str | None = None
    group: str | None = None
    modified: tuple = (0, 0)  # seconds, nanoseconds
    changed: tuple = (0, 0)
    inode: int = 0
    size: int = 0
    target: bytes = b""
    device: tuple = (0, 0)  # major, minor
    xattrs: list = field(default_factory=list)
    same: tuple | None = None  # (device, inode), equal for hard links of one file
    extents: object = None
    content: object = None
    where: str = ""  # the leaf that it stands in

    @property
    def mtime(self):
        return self.modified[0] * 10**9 + self.modified[1]


def order(path):
    """Paths sort by this key as the tree has them."""
    return path.replace(b"/", b"\0")


def fingerprint(entries, secret):
    """What a writer compares to see that nothing in a leaf changed."""
    text = bytearray(b"leaf")
    for one in entries:
        length = len(one.path)
        while length >= 0x80:
            text.append(length & 0x7F | 0x80)
            length >>= 7
        text.append(length)
        text += one.path + bytes([one.type])
        numbers = (one.mode, one.uid, one.gid, one.size, *one.modified, *one.changed, one.inode)
        text += b"".join((number % U64).to_bytes(8, "little") for number in numbers)
    return keyed_hash(secret.tree, bytes(text), 16)
