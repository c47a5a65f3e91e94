"""Files whose content breaks a rule of FORMAT.md §9, for the self-test alone.

`FILES` are roots of a source, each with a part of what the reader has to say of it.
"""

import scribe
from author import PAGE
from entry import FILE, Entry
from forgeries import MIB, NONE, ROOT, under
from primitives import var
from scribe import CUT, PAGES, content, content_above, u8

SPARSE = 4


def holding(make, size=10, flags=0, extents=()):
    """A file with the content that `make(author)` gives."""

    def root(author):
        one = Entry(b"file", FILE, flags, size=size, extents=extents, content=make(author))
        return under(author, [ROOT, one])

    return root


def cut(length):
    return lambda author: content(CUT, 1, author.store(bytes(length)))


def ref(**changes):
    return lambda author: content(CUT, 1, [author.store(bytes(10))[0]._replace(**changes)])


def listed(level, item_level, covered):
    def make(author):
        node = author.node(scribe.list_node(item_level, author.store(bytes(10))))
        return content_above(CUT, 1, level, [(covered, node)])

    return make


def mapped(*parts):
    """A full page map of raw parts."""
    return lambda author: content(PAGES, PAGE, [author.node(b"\4\0\0" + b"".join(parts))])


def overlay(pages, patches, runs, deep=False):
    def make(author):
        full = author.full(bytes(PAGE))
        if deep:
            full = author.node(scribe.overlay_map(full, 1, [], [], []))
        over = scribe.overlay_map(full, pages, [], patches, runs)
        return content(PAGES, PAGE, [author.node(over)])

    return make


def short_segment(author):
    """Page maps for as many pages as the file has, but not split where they have to be."""
    return content(PAGES, PAGE, [author.full(bytes(pages * PAGE)) for pages in (2, 4096)])


FILES = [
    (holding(cut(9)), "with 9 bytes"),
    (holding(cut(11)), "with 11 bytes"),
    (holding(lambda author: NONE), "with 0 bytes"),
    (holding(short_segment, 4098 * PAGE), "more or fewer pages"),
    (holding(lambda author: content(PAGES, PAGE, []), PAGE), "with 0 bytes"),
    (holding(ref(id=bytes(24))), "not the chunk"),
    (holding(ref(length=11)), "past the end of a frame"),
    (holding(ref(offset=1, length=10)), "past the end of a frame"),
    (holding(ref(plain=11, stored=27)), "seal"),
    (holding(ref(plain=16 * MIB + 1)), "too large"),
    (holding(lambda author: content(CUT, 1, [author.node(bytes(10))])), "wrong kind"),
    (holding(lambda author: content(4, 1, [])), "content of kind 4"),
    (holding(lambda author: content(PAGES, 0, [])), "small or too large pages"),
    (holding(lambda author: content(PAGES, MIB + 1, [])), "small or too large pages"),
    (holding(cut(10), 10, 16), "not stored"),
    (holding(listed(9, 0, 10)), "too many levels"),
    (holding(listed(2, 0, 10)), "another level"),
    (holding(listed(1, 0, 9)), "more or fewer bytes"),
    (holding(cut(0), 10, SPARSE, [u8(0), 1, 0, 0]), "run of no data"),
    (holding(cut(5), 10, SPARSE, [u8(0), 1, 6, 5]), "after the end"),
    (holding(cut(5), 10, SPARSE, [u8(2), 1, 6, 5]), "extents of form 2"),
    (holding(mapped(u8(2)), PAGE), "form 2"),
    (holding(mapped(u8(0), var(4097), var(0)), PAGE), "too many pages"),
    (holding(mapped(u8(0), var(2), var(0), bytes(16), b"\1\2\0"), PAGE), "more or fewer pages"),
    (holding(mapped(u8(0), var(1), var(0), bytes(8), b"\1\2\0"), PAGE), "places more"),
    (holding(mapped(u8(0), var(1), var(0), bytes(8), b"\0"), PAGE), "places fewer"),
    (holding(mapped(u8(0), var(1), var(0), bytes(8), b"\1\1\1\0"), PAGE), "not in its list"),
    (holding(overlay(1, [], [], deep=True), PAGE), "page map of form 1"),
    (holding(overlay(2, [], []), 2 * PAGE), "does not state"),
    (holding(overlay(1, [(0, [])], []), PAGE), "patch of no pages"),
    (holding(overlay(1, [(0, [bytes(8)] * 2)], [(2, 0)]), PAGE), "past its end"),
]
