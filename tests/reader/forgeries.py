"""Trees that break a rule of FORMAT.md §7 to §9, for the self-test alone.

`TREES` are roots of a source, each with a part of what the reader has to say of it.
"""

import scribe
from author import PAGE
from entry import CHARACTER, DIRECTORY, FILE, SYMLINK, Entry
from scribe import CUT, PAGES, content, content_above, u8
from writer import string, var

NONE = [u8(0)]
ROOT = Entry(b"", DIRECTORY, 0)
MIB = 1 << 20


def under(author, *groups, level=1):
    """A root over leaves of these entries, or over what is no leaf but should be."""
    leaves = [(author.node(scribe.leaf(group)), group) for group in groups]
    secret = author.repository.secrets[author.number]
    return author.node(scribe.inner(level, leaves, secret))


def leaf(*entries):
    return lambda author: under(author, [ROOT, *entries])


def leaves(*groups):
    return lambda author: under(author, *groups)


def named(*paths):
    return leaf(*(Entry(path, DIRECTORY, 0) for path in paths))


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


def above(level, last=b"", below=None, entries=1):
    """An inner node over a leaf that holds just the root."""

    def root(author):
        child = author.node(scribe.leaf([ROOT]))
        node = scribe.Node(below or scribe.INNER).add(u8(level), 1, var(0), string(last))
        return author.node(node.add(child, entries, 0, bytes(16)).finish())

    return root


def raw(data, root=False):
    """A root of these bytes, or one whose only child has them."""

    def make(author):
        node = scribe.Node(scribe.INNER).add(u8(1), 1, var(0), string(b""))
        child = author.node(data)
        return child if root else author.node(node.add(child, 1, 0, bytes(16)).finish())

    return make


def folder(path, **more):
    return Entry(path, DIRECTORY, more.pop("flags", 0), **more)


EMPTY_LEAF = b"\1\0\0\0"
SPARSE = 4
TREES = [
    *((named(path), "has the path") for path in (b"..", b".", b"a/../b", b"/a", b"a/", b"a\0b")),
    (named(b"b", b"a"), "out of order"),
    (named(b"a", b"a"), "out of order"),
    (named(b"a", b"a-", b"a/b"), "out of order"),
    (named(b"a/b"), "in no directory"),
    (leaf(Entry(b"a", SYMLINK, 0), Entry(b"a/b", DIRECTORY, 0)), "in no directory"),
    (lambda author: author.node(scribe.leaf([ROOT])), "kind 1"),
    (raw(b"\2\0\0\1\0", root=True), "no children"),
    (leaves([folder(b"a")]), "in no directory"),
    (leaves([Entry(b"", FILE, 0, content=NONE)]), "root that is no directory"),
    (leaves([ROOT, folder(b"b")], [folder(b"a")]), "out of order"),
    (leaves([ROOT, folder(b"b")], [folder(b"a"), folder(b"c")]), "out of order"),
    (leaf(*(folder(b"a" * (MIB - 6) + b"%06d" % n) for n in range(65))), "too long paths"),
    (leaf(folder(b"a", uid=1 << 32)), "over 32 bits"),
    (leaf(Entry(b"a", CHARACTER, 0, device=(0, 1 << 32))), "over 32 bits"),
    (leaf(folder(b"a", flags=1, xattrs=[(b"b", b""), (b"a", b"")])), "attributes out of order"),
    (leaf(folder(b"a", flags=1, xattrs=[(b"a", b""), (b"a", b"")])), "attributes out of order"),
    (leaf(folder(b"a", flags=2, same=(1, 0))), "hard links"),
    (leaf(Entry(b"a", SYMLINK, 2, same=(1, 0, 1))), "hard links"),
    (leaf(Entry(b"a", FILE, 0, size=1 << 63, content=NONE)), "too large"),
    (raw(b"\1\0\0" + var(131_073) + bytes(131_073)), "counts too many"),
    (leaf(Entry(b"a", 8, 0)), "of type 8"),
    (leaf(Entry(b"a", DIRECTORY, 32)), "flags 32"),
    (leaf(Entry(b"a", DIRECTORY, 0, 0o10000)), "mode 10000"),
    (leaf(Entry(b"a", DIRECTORY, 0, modified=(0, 10**9))), "nanoseconds"),
    (leaf(Entry(b"a" * (MIB + 1), DIRECTORY, 0)), "too long"),
    (leaf(Entry(b"a", SYMLINK, 0, target=b"a" * (MIB + 1))), "too long"),
    (leaf(Entry(b"a", DIRECTORY, 1, xattrs=[(b"a", bytes(4 * MIB))])), "too long attributes"),
    (leaf(*(Entry(b"%06d" % n, DIRECTORY, 0) for n in range(65_536))), "counts too many"),
    (raw(EMPTY_LEAF + b"\1\1\0"), "shares more"),
    (raw(EMPTY_LEAF + b"\xff" * 9 + b"\2"), "over 64 bits"),
    (raw(EMPTY_LEAF + b"\x80" * 10), "more than 10 bytes"),
    (raw(EMPTY_LEAF + b"\0\0"), "goes on"),
    (raw(EMPTY_LEAF + b"\xff\xff\xff\1"), "counts too many"),
    (raw(b"\1\1" + bytes(20)), "ends early"),
    (raw(b"\1\0\1\0\0\0\0"), "not in its table"),
    (raw(b"\6\0\0"), "kind 6"),
    (raw(b"\3\0\0\0\0"), "kind 3"),
    (above(0), "level 0"),
    (above(17), "level 17"),
    (above(2), "node of kind 1"),
    (above(1, b"else"), "wrong end"),
    (above(1, entries=2), "wrong sums"),
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
    (leaf(Entry(b"a", SYMLINK, SPARSE, extents=[u8(0), 0])), "holes in what is no file"),
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
