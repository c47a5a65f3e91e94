"""Writes nodes, for the self-test alone.

The other side of nodes.py, leaf.py, tree.py, content.py and pages.py: FORMAT.md §7 to §9.
"""

from entry import (
    FILE,
    HARD_LINKED,
    INCOMPLETE,
    INODE_FLAGS,
    SPARSE,
    XATTRS,
    fingerprint,
    special,
)
from nodes import EXTENTS, INNER, LEAF, LIST, PAGE_MAP, Ref
from primitives import string, var
from writer import svar

CUT, PAGES, WHOLE = 1, 2, 3


class Node:
    """A body, and the frame table that its references need."""

    def __init__(self, kind):
        self.kind, self.body, self.packs, self.frames = kind, bytearray(), [], []

    def add(self, *parts):
        """Bytes are put as they are, numbers as var, references as such."""
        for part in parts:
            if isinstance(part, Ref):
                self.add_ref(part)
            else:
                self.body += part if isinstance(part, bytes) else var(part)
        return self

    def add_ref(self, ref):
        if ref.pack not in self.packs:
            self.packs.append(ref.pack)
        frame = (self.packs.index(ref.pack), ref.frame, ref.stored, ref.plain)
        if frame not in self.frames:
            self.frames.append(frame)
        self.add(self.frames.index(frame), ref.offset, ref.length, ref.id)

    def finish(self):
        table = var(len(self.packs)) + b"".join(self.packs) + var(len(self.frames))
        table += b"".join(var(number) for frame in self.frames for number in frame)
        return bytes([self.kind]) + table + bytes(self.body)


def u8(number):
    return bytes([number])


def shorten(path, before):
    shared, most = 0, min(len(path), len(before))
    while shared < most:
        middle = (shared + most + 1) // 2
        same = path[:middle] == before[:middle]
        shared, most = (middle, most) if same else (shared, middle - 1)
    return var(shared) + string(path[shared:])


def leaf(entries):
    """Entries as the reader has them; `extents` and `content` are lists of what `add` takes."""
    node = Node(LEAF)
    names = sorted({name for one in entries for name in (one.user, one.group) if name})
    numbers = {None: 0} | {name: number for number, name in enumerate(names, 1)}
    node.add(len(names), *(string(name.encode()) for name in names), len(entries))
    path, seconds, inode = b"", 0, 0
    for one in entries:
        node.add(shorten(one.path, path), u8(one.type), one.flags, one.mode, one.uid, one.gid)
        node.add(numbers[one.user], numbers[one.group])
        node.add(svar(one.modified[0] - seconds), one.modified[1])
        node.add(svar(one.changed[0] - one.modified[0]), one.changed[1])
        node.add(svar((one.inode - inode + 2**63) % 2**64 - 2**63))
        add_special(node, one)
        path, seconds, inode = one.path, one.modified[0], one.inode
    return node.finish()


def add_special(node, one):
    node.add(special(one))
    if one.flags & XATTRS:
        node.add(len(one.xattrs), *(string(text) for pair in one.xattrs for text in pair))
    if one.flags & HARD_LINKED:
        node.add(*one.links)
    if one.flags & INODE_FLAGS:
        node.add(one.inode_flags)
    if one.flags & SPARSE:
        node.add(*one.extents)
    if one.type == FILE:
        node.add(*one.content)


def inner(level, children, secret):
    """Children are (reference, all entries below it)."""
    node, before = Node(INNER), b""
    node.add(u8(level), len(children))
    for ref, below in children:
        last = below[-1].path
        compares = level == 1 and not any(one.flags & INCOMPLETE for one in below)
        mark = fingerprint(below, secret) if compares else bytes(16)
        sums = len(below), sum(one.size for one in below)
        node.add(shorten(last, before), ref, *sums, mark)
        before = last
    return node.finish()


def content(kind, parameter, refs):
    """A content list without list nodes."""
    return [u8(kind), parameter, u8(0), len(refs), *refs]


def content_above(kind, parameter, level, items):
    """Items are (covered bytes, reference to a list node)."""
    return [u8(kind), parameter, u8(level), len(items), *(part for item in items for part in item)]


def list_node(level, items):
    flat = items if level == 0 else [part for item in items for part in item]
    return Node(LIST).add(u8(level), len(items), *flat).finish()


def extents_node(runs):
    return Node(EXTENTS).add(len(runs), *(number for run in runs for number in run)).finish()


def full_map(hashes, chunks, runs):
    """Runs are (pages, source) or (pages, source, first page)."""
    node = Node(PAGE_MAP).add(u8(0), len(hashes), len(chunks), *chunks, *hashes)
    return node.add(len(runs), *(number for run in runs for number in run)).finish()


def overlay_map(full, pages, chunks, patches, runs):
    """Patches are (skip, [hash])."""
    node = Node(PAGE_MAP).add(u8(1), full, pages, len(chunks), *chunks, len(patches))
    for skip, hashes in patches:
        node.add(skip, len(hashes), *hashes)
    return node.add(len(runs), *(number for run in runs for number in run)).finish()
