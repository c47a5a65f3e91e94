"""Page maps: where each page of a file is kept.

Implements the page map segment of FORMAT.md §9, full and overlay.
"""

from functools import lru_cache

from nodes import PAGE_MAP, Node, data_chunk
from primitives import SEGMENT_PAGES, require

FULL, OVERLAY = 0, 1
ZERO = (None, 0)  # the place of a page that is stored nowhere


class Segment:
    """Per page its place, (chunk or None, page in the chunk), and its hash with its secret."""

    def __init__(self, packs, ref, forms=(FULL, OVERLAY)):
        node = Node(packs, ref, {PAGE_MAP})
        self.name, self.secret = node.name, packs.keys.secret(ref.pack[23], node.name)
        form = node.u8()
        node.require(form in forms, f"is a page map of form {form}")
        base = Segment(packs, node.ref(), (FULL,)) if form == OVERLAY else None
        pages = node.var()
        node.require(pages <= SEGMENT_PAGES, "maps too many pages")
        chunks = [node.ref() for _ in range(node.count())]
        self.places = begin(base and base.places, pages)
        self.hashes = begin(base and base.hashes, pages)
        stated = self.read_patches(node) if base else self.read_hashes(node, 0, pages)
        self.read_runs(node, stated, chunks)
        node.end()
        node.require(None not in self.places, "does not state a page that its full segment lacks")

    def read_hashes(self, node, first, count):
        """Hashes of pages in a row; returns which pages those are."""
        node.require(first + count <= len(self.places), "states pages past its end")
        hashes = node.take(8 * count)
        for n in range(count):
            self.hashes[first + n] = hashes[8 * n : 8 * n + 8], self.secret
        return list(range(first, first + count))

    def read_patches(self, node):
        stated, at = [], 0
        for _ in range(node.count()):
            first, length = at + node.var(), node.var()
            node.require(length > 0, "has a patch of no pages")
            stated += self.read_hashes(node, first, length)
            at = first + length
        return stated

    def read_runs(self, node, stated, chunks):
        """Gives the stated pages their places."""
        rest = iter(stated)
        for _ in range(node.count()):
            length, source = node.var(), node.var()
            node.require(source <= len(chunks), "names a chunk that is not in its list")
            chunk = chunks[source - 1] if source else None
            first = node.var() if source else 0
            node.require(length <= SEGMENT_PAGES, "has a run that is too long")
            for number in range(length):
                page = next(rest, None)
                node.require(page is not None, "places more pages than it states")
                self.places[page] = (chunk, first + number) if chunk else ZERO
        node.require(next(rest, None) is None, "places fewer pages than it states")


def begin(places, pages):
    """The first `pages` of the full segment, and None for those that it lacks."""
    return ((places or []) + [None] * pages)[:pages]


def page_blocks(packs, segment, page, length):
    """The pages of a segment that covers `length` bytes of a file."""
    fits = len(segment.places) == -(-length // page)
    require(fits, segment.name, "maps more or fewer pages than the file has there")
    chunk = lru_cache(4)(lambda ref: data_chunk(packs, ref))
    for number, (ref, first) in enumerate(segment.places):
        wanted = min(page, length - number * page)
        block = chunk(ref)[first * page :][:wanted] if ref else bytes(wanted)
        require(len(block) == wanted, segment.name, f"page {number} is not in its chunk")
        yield block
