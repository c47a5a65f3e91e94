"""Leaves, which hold entries.

Implements the leaf of FORMAT.md §8.
"""

from content import NONE, read_content, read_extents
from entry import (
    BLOCK,
    CHANGED,
    CHARACTER,
    DIRECTORY,
    FILE,
    HARD_LINKED,
    INODE_FLAG_WORDS,
    INODE_FLAGS,
    LACKS_ATTRIBUTES,
    LEFT_OUT,
    NAME,
    NOT_STORED,
    SPARSE,
    SYMLINK,
    U64,
    XATTRS,
    Entry,
    order,
)
from primitives import (
    FILE_MAX,
    LEAF_NAMES_MAX,
    LEAF_XATTRS_MAX,
    NODE_ITEMS_MAX,
    NODE_PATHS_MAX,
    PATH_MAX,
    XATTRS_MAX,
    signed64,
)

KNOWN_FLAGS = XATTRS | HARD_LINKED | SPARSE | CHANGED | NOT_STORED
KNOWN_FLAGS |= LEFT_OUT | LACKS_ATTRIBUTES | INODE_FLAGS
KNOWN_INODE_FLAGS = sum(INODE_FLAG_WORDS)
U32 = 1 << 32


def read_path(node, before):
    """A path that begins as the one before it does."""
    shared = node.var()
    node.require(shared <= len(before), "shares more than the path before has")
    path = before[:shared] + node.bytes(PATH_MAX)
    node.require(len(path) <= PATH_MAX, "has too long a path")
    fits = not path or not {b"", b".", b".."} & set(path.split(b"/"))
    node.require(fits and b"\0" not in path, f"has the path {path!r}")
    node.spelled += len(path)
    node.require(node.spelled <= NODE_PATHS_MAX, "has too long paths together")
    return path


def ascending(node, before, path):
    """Paths go up, in a node and from one to the next; `before` is None ahead of the first."""
    node.require(before is None or order(before) < order(path), f"has {path!r} out of order")


def read_leaf(node):
    """All entries of a leaf."""
    names = [None] + [node.text() for _ in range(node.count(LEAF_NAMES_MAX))]
    entries, xattrs = [], 0
    before = Entry(b"", FILE, 0)
    for _ in range(node.count(NODE_ITEMS_MAX)):
        entry = read_entry(node, names, before)
        ascending(node, before.path if entries else None, entry.path)
        xattrs += len(entry.xattrs)
        node.require(xattrs <= LEAF_XATTRS_MAX, "has too many attributes")
        entries.append(entry)
        before = entry
    node.end()
    return entries


def read_entry(node, names, before):
    entry = Entry(read_path(node, before.path), node.u8(), node.var(), where=node.name)
    node.require(FILE <= entry.type <= NAME, f"has an entry of type {entry.type}")
    node.require(entry.flags & ~KNOWN_FLAGS == 0, f"has an entry with flags {entry.flags}")
    check_seen(node, entry)
    entry.mode = node.var()
    node.require(entry.mode <= 0o7777, f"has an entry with mode {entry.mode:o}")
    entry.uid, entry.gid = read_u32(node), read_u32(node)
    entry.user, entry.group = read_name(node, names), read_name(node, names)
    entry.modified = read_time(node, before.modified[0])
    entry.changed = read_time(node, entry.modified[0])
    entry.inode = (before.inode + node.svar()) % U64
    numbers = entry.mode, entry.uid, entry.gid, *entry.modified, *entry.changed, entry.inode
    bare = not any(numbers) and entry.user is entry.group is None
    node.require(entry.type != NAME or bare, "has a name only with numbers")
    read_special(node, entry)
    if entry.flags & XATTRS:
        read_xattrs(node, entry)
    if entry.flags & HARD_LINKED:
        entry.links = node.var(), node.var()
        fits = entry.links[1] >= 2 and entry.type != DIRECTORY
        node.require(fits, "has hard links where there is one name, or a directory")
    if entry.flags & INODE_FLAGS:
        entry.inode_flags = node.var()
        fits = entry.inode_flags and not entry.inode_flags & ~KNOWN_INODE_FLAGS
        node.require(fits, f"has an entry with inode flags {entry.inode_flags:#x}")
    if entry.flags & SPARSE:
        node.require(entry.type == FILE, "has holes in what is no file")
        entry.extents = read_extents(node)
    if entry.type == FILE:
        entry.content = read_content(node)
        lost = entry.flags & NOT_STORED
        node.require(not lost or entry.content.kind == NONE, "stores what it says is not stored")
    return entry


def check_seen(node, entry):
    """What the flags say of how much was looked at has to fit the type."""
    seen = entry.flags & (NOT_STORED | LEFT_OUT)
    if entry.type == NAME:
        node.require(seen, "has a name only without saying why")
        fits = entry.flags in (NOT_STORED, LEFT_OUT)
        node.require(fits, f"has a name only with flags {entry.flags}")
    elif entry.flags & LEFT_OUT:
        node.require(entry.type == DIRECTORY, "leaves out what is no directory")
        node.require(seen == LEFT_OUT, "has a directory both left out and not listed")


def read_u32(node):
    number = node.var()
    node.require(number < U32, "has an id or a device number over 32 bits")
    return number


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
        node.require(entry.size <= FILE_MAX, "has a file that is too large")
    elif entry.type == SYMLINK:
        entry.target = node.bytes(PATH_MAX)
    elif entry.type in (CHARACTER, BLOCK):
        entry.device = read_u32(node), read_u32(node)


def read_xattrs(node, entry):
    count = node.count(LEAF_XATTRS_MAX)
    entry.xattrs = [(node.bytes(XATTRS_MAX), node.bytes(XATTRS_MAX)) for _ in range(count)]
    names = [name for name, _ in entry.xattrs]
    sound = all(one < other for one, other in zip(names, names[1:], strict=False))
    node.require(sound, "has attributes out of order")
    total = sum(len(name) + len(value) for name, value in entry.xattrs)
    node.require(total <= XATTRS_MAX, "has too long attributes")
