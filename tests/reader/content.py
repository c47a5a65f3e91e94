"""The bytes of a file: content lists, whole and cut chunks, page maps, holes.

Implements FORMAT.md §9, but for page maps, which pages.py reads. `pieces` is what a restore needs.
"""

from typing import NamedTuple

from nodes import EXTENTS, LIST, Node, Ref, data_chunk
from pages import Segment, page_blocks
from primitives import LIST_LEVELS_MAX, PAGE_MAX, PAGE_MIN, SEGMENT_PAGES, require

NONE, CUT, PAGES, WHOLE = range(4)


class Content(NamedTuple):
    kind: int
    parameter: int = 0
    level: int = 0
    items: tuple = ()  # at level 0 references, above (covered bytes, reference)


def read_content(node):
    kind = node.u8()
    node.require(kind <= WHOLE, f"has content of kind {kind}")
    if kind == NONE:
        return Content(NONE)
    parameter, level = node.var(), node.u8()
    node.require(level <= LIST_LEVELS_MAX, "has too many levels of content")
    fits = kind != PAGES or PAGE_MIN <= parameter <= PAGE_MAX
    node.require(fits, "has too small or too large pages")
    return Content(kind, parameter, level, read_items(node, level))


def read_items(node, level):
    count = range(node.count())
    if level == 0:
        return tuple(node.ref() for _ in count)
    return tuple((node.var(), node.ref()) for _ in count)


def read_extents(node):
    """Pairs (hole before, data bytes), or references to nodes of them."""
    form = node.u8()
    node.require(form <= 1, f"has extents of form {form}")
    count = range(node.count())
    return [(node.var(), node.var()) for _ in count] if form == 0 else [node.ref() for _ in count]


def runs(packs, entry):
    """(offset, length) of all that is not hole, in order."""
    if entry.extents is None:
        return [(0, entry.size)] if entry.size else []
    found, at = [], 0
    for name, hole, length in stated_runs(packs, entry):
        require(length > 0, name, "has a run of no data")
        require(at + hole + length <= entry.size, name, "has data after the end of the file")
        found.append((at + hole, length))
        at += hole + length
    return found


def stated_runs(packs, entry):
    for item in entry.extents:
        if not isinstance(item, Ref):
            yield entry.where, *item
            continue
        node = Node(packs, item, {EXTENTS})
        node.require(not node.frames, "has a frame table, but no references")
        for _ in range(node.count()):
            yield node.name, node.var(), node.var()
        node.end()


def items(packs, content, listed, level, at, size):
    """(offset, length, reference) of all items of level 0, in order."""
    for item in listed:
        if level == 0:
            pages = min(SEGMENT_PAGES * content.parameter, size - at)
            length = pages if content.kind == PAGES else item.length
            yield at, length, item
            at += length
            continue
        covered, ref = item
        node = Node(packs, ref, {LIST})
        node.require(node.u8() == level - 1, "is a list of another level")
        inner, start = read_items(node, level - 1), at
        node.end()
        for found in items(packs, content, inner, level - 1, at, size):
            yield found
            at = found[0] + found[1]
        node.require(at - start == covered, "covers more or fewer bytes than is stated")


class Supply:
    """The bytes that a content list stands for, taken in order."""

    def __init__(self, packs, entry, size):
        self.blocks, self.rest, self.name = self.all(packs, entry.content, size), b"", entry.where

    def all(self, packs, content, size):
        for _, length, ref in items(packs, content, content.items, content.level, 0, size):
            if content.kind == PAGES:
                require(length > 0, self.name, "has a page map after the end of a file")
                yield from page_blocks(packs, Segment(packs, ref), content.parameter, length)
            else:
                yield data_chunk(packs, ref)

    def take(self, length):
        while length > 0:
            block = self.rest or next(self.blocks, None)
            require(block is not None, self.name, "has a file with too little content")
            yield block[:length]
            self.rest = block[length:]
            length -= len(block[:length])

    def end(self):
        over = self.rest or any(self.blocks)
        require(not over, self.name, "has a file with too much content")


def pieces(packs, entry):
    """(offset, bytes) of all that is not hole in a file; checks that nothing lacks or is left."""
    paged = entry.content.kind == PAGES
    supply = Supply(packs, entry, entry.size)
    at = 0
    for offset, length in [*runs(packs, entry), (entry.size, 0)]:
        for block in supply.take(offset - at if paged else 0):
            require(not any(block), entry.where, "has bytes where a file has a hole")
        at = offset
        for block in supply.take(length):
            yield at, block
            at += len(block)
    supply.end()
