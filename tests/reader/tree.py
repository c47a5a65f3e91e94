"""The entries of a source, in path order.

Implements the inner nodes and the order of FORMAT.md §8. `walk` checks all rules; given a path, it
reads only the nodes on the way to that path and those below it.
"""

from typing import NamedTuple

from entry import DIRECTORY, order
from leaf import ascending, read_leaf, read_path
from nodes import INNER, LEAF, Node, Ref
from primitives import NODE_ITEMS_MAX, TREE_LEVELS_MAX


class Child(NamedTuple):
    last: bytes  # path of its last entry
    ref: Ref
    entries: int
    size: int
    fingerprint: bytes


def open_node(packs, ref, level):
    """The node and its level: 0 for a leaf. The root is an inner node of any level (None)."""
    node = Node(packs, ref, {LEAF} if level == 0 else {INNER})
    if level == 0:
        return node, 0
    found = node.u8()
    node.require(level in (None, found), f"is of level {found}, not {level}")
    node.require(1 <= found <= TREE_LEVELS_MAX, f"is of level {found}")
    return node, found


def read_children(node):
    children = []
    last = None
    for _ in range(node.count(NODE_ITEMS_MAX)):
        path = read_path(node, last or b"")
        ascending(node, last, path)
        children.append(Child(path, node.ref(), node.var(), node.var(), node.take(16)))
        last = path
    node.end()
    node.require(children, "has no children")
    return children


def entries_from(packs, ref, level, start):
    """(node, entry) of all entries, less the children that end before `start`."""
    node, level = open_node(packs, ref, level)
    if level == 0:
        yield from ((node, entry) for entry in read_leaf(node))
        return
    for child in read_children(node):
        if order(child.last) < start:
            continue
        whole, entries, size, entry = start == b"", 0, 0, None
        for place, entry in entries_from(packs, child.ref, level - 1, start):
            entries, size = entries + 1, size + entry.size
            yield place, entry
        node.require(entry and entry.path == child.last, f"states a wrong end {child.last!r}")
        fits = (entries, size) == (child.entries, child.size)
        node.require(fits or not whole, f"states wrong sums of the child up to {child.last!r}")


def within(path, folder):
    return not folder or path == folder or path.startswith(folder + b"/")


def walk(packs, root, path=b""):
    """All entries at and below `path`, each after the directory that it is in."""
    last, folders = None, []
    for node, entry in entries_from(packs, root, None, order(path)):
        ascending(node, last, entry.path)
        last = entry.path
        sound = entry.type == DIRECTORY or entry.path
        node.require(sound, "has a root that is no directory")
        if not within(entry.path, path):
            if order(entry.path) > order(path):
                return
            continue
        while folders and not within(entry.path, folders[-1]):
            folders.pop()
        folder = entry.path.rpartition(b"/")[0]
        held = entry.path == path or folders[-1:] == [folder]
        node.require(held, f"has {entry.path!r}, which is in no directory")
        if entry.type == DIRECTORY:
            folders.append(entry.path)
        yield entry
