"""Entries: what a tree says of each path.

Implements what FORMAT.md §8 says of entries themselves: their order and the fingerprint of a leaf.
"""

from dataclasses import dataclass, field

from primitives import keyed_hash, string, var

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK, NAME = range(1, 9)
XATTRS, HARD_LINKED, SPARSE, CHANGED, NOT_STORED = 1, 2, 4, 8, 16
LEFT_OUT, LACKS_ATTRIBUTES, INODE_FLAGS = 32, 64, 128
INCOMPLETE = CHANGED | NOT_STORED | LACKS_ATTRIBUTES
# What inode flags are called, by the bit.
INODE_FLAG_WORDS = {16: "immutable", 32: "append-only", 64: "no-dump", 1 << 23: "no-copy-on-write"}
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
    links: tuple | None = None  # (volume, number of names) of what is hard-linked
    inode_flags: int = 0
    extents: object = None
    content: object = None
    where: str = ""  # the leaf that it stands in

    @property
    def mtime(self):
        return self.modified[0] * 10**9 + self.modified[1]

    @property
    def one_file(self):
        """Equal for entries that are names of one file; None where there is one name."""
        if self.links is None:
            return None
        attributes = self.type, self.mode, self.uid, self.gid, self.size, self.modified
        content = chunk_ids((self.target, self.device, self.content, self.extents))
        return self.links[0], self.inode, attributes, content


def chunk_ids(part):
    """Content with each reference replaced by the id of its chunk: it may be stored in two places."""
    if hasattr(part, "id"):
        return part.id
    return tuple(map(chunk_ids, part)) if isinstance(part, (list, tuple)) else part


def order(path):
    """Paths sort by this key as the tree has them."""
    return path.replace(b"/", b"\0")


def special(one):
    """What the type of an entry adds to its numbers, as it stands in a leaf."""
    if one.type == FILE:
        return var(one.size)
    if one.type == SYMLINK:
        return string(one.target)
    if one.type in (CHARACTER, BLOCK):
        return var(one.device[0]) + var(one.device[1])
    return b""


def fingerprint(entries, secret):
    """What a writer compares to see that nothing in a leaf changed."""
    text = bytearray(b"leaf")
    for one in entries:
        text += string(one.path) + bytes([one.type])
        numbers = [one.mode, one.uid, one.gid, one.size, *one.modified, *one.changed, one.inode]
        numbers += [one.links[0] if one.links else 0, one.inode_flags, bool(one.flags & LEFT_OUT)]
        text += b"".join((number % U64).to_bytes(8, "little") for number in numbers)
        text += special(one)
    return keyed_hash(secret.tree, bytes(text), 16)
