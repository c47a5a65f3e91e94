"""Entries and the leaves that hold them.

Implements the leaf of FORMAT.md §8, with its fingerprint.
"""

from dataclasses import dataclass, field

from content import NONE, Content, read_content, read_extents
from primitives import NODE_ITEMS_MAX, PATH_MAX, XATTRS_MAX, keyed_hash, signed64

FILE, DIRECTORY, SYMLINK, FIFO, SOCKET, CHARACTER, BLOCK = range(1, 8)
XATTRS, HARD_LINKED, SPARSE, CHANGED, NOT_STORED = 1, 2, 4, 8, 16
KNOWN_FLAGS = XATTRS | HARD_LINKED | SPARSE | CHANGED | NOT_STORED
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
    content: Content | None = None
    where: str = ""  # the leaf that it stands in

    @property
    def mtime(self):
        return self.modified[0] * 10**9 + self.modified[1]


def order(path):
    """Paths sort by this key as the tree has them."""
    return path.replace(b"/", b"\0")


def read_path(node, before):
    """A path that begins as the one before it does."""
    shared = node.var()
    node.require(shared <= len(before), "shares more than the path before has")
    path = before[:shared] + node.bytes(PATH_MAX)
    node.require(len(path) <= PATH_MAX, "has too long a path")
    fits = not path or not {b"", b".", b".."} & set(path.split(b"/"))
    node.require(fits and b"\0" not in path, f"has the path {path!r}")
    return path


def read_leaf(node):
    """All entries of a leaf."""
    names = [None] + [node.text() for _ in range(node.count())]
    entries = []
    before = Entry(b"", FILE, 0)
    for _ in range(node.count(NODE_ITEMS_MAX)):
        before = read_entry(node, names, before)
        entries.append(before)
    node.end()
    return entries


def read_entry(node, names, before):
    entry = Entry(read_path(node, before.path), node.u8(), node.var(), where=node.name)
    node.require(FILE <= entry.type <= BLOCK, f"has an entry of type {entry.type}")
    node.require(entry.flags & ~KNOWN_FLAGS == 0, f"has an entry with flags {entry.flags}")
    entry.mode = node.var()
    node.require(entry.mode <= 0o7777, f"has an entry with mode {entry.mode:o}")
    entry.uid, entry.gid = node.var(), node.var()
    entry.user, entry.group = read_name(node, names), read_name(node, names)
    entry.modified = read_time(node, before.modified[0])
    entry.changed = read_time(node, entry.modified[0])
    entry.inode = (before.inode + node.svar()) % U64
    read_special(node, entry)
    if entry.flags & XATTRS:
        read_xattrs(node, entry)
    if entry.flags & HARD_LINKED:
        entry.same = node.var(), entry.inode
        node.var()  # how many links there were
    if entry.flags & SPARSE:
        node.require(entry.type == FILE, "has holes in what is no file")
        entry.extents = read_extents(node)
    if entry.type == FILE:
        entry.content = read_content(node)
        lost = entry.flags & NOT_STORED
        node.require(not lost or entry.content.kind == NONE, "stores what it says is not stored")
    return entry


def read_name(node, names):
    number = node.var()
    node.require(number < len(names), "names a user or group that is not in its list")
    return names[number]


def read_time(node, seconds):
    time = signed64(seconds + node.svar()), node.var()
    node.require(time[1] < 10**9, "has a second or more of nanoseconds")
    return time


def read_special(node, entry):
    if entry.type == FILE:
        entry.size = node.var()
    elif entry.type == SYMLINK:
        entry.target = node.bytes(PATH_MAX)
    elif entry.type in (CHARACTER, BLOCK):
        entry.device = node.var(), node.var()


def read_xattrs(node, entry):
    entry.xattrs = [(node.bytes(), node.bytes()) for _ in range(node.count())]
    total = sum(len(name) + len(value) for name, value in entry.xattrs)
    node.require(total <= XATTRS_MAX, "has too long attributes")


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
