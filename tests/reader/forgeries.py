"""Trees that break a rule of FORMAT.md §7 or §8, for the self-test alone.

`TREES` are roots of a source, each with a part of what the reader has to say of it.
"""

import scribe
from entry import CHARACTER, DIRECTORY, FILE, NAME, SYMLINK, Entry
from primitives import string, var
from scribe import u8

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
    (leaf(folder(b"a", flags=2, links=(1, 2))), "hard links"),
    (leaf(Entry(b"a", SYMLINK, 2, links=(1, 1))), "hard links"),
    *(
        (leaf(folder(b"a", flags=128, inode_flags=flags)), f"inode flags {flags:#x}")
        for flags in (0, 1, 17, 1 << 32)
    ),
    (leaf(Entry(b"a", FILE, 0, size=1 << 63, content=NONE)), "too large"),
    (raw(b"\1\0\0" + var(131_073) + bytes(131_073)), "counts too many"),
    (leaf(Entry(b"a", 9, 0)), "of type 9"),
    (leaf(Entry(b"a", 0, 0)), "of type 0"),
    (leaf(folder(b"a", flags=256)), "flags 256"),
    (leaf(folder(b"a", flags=48)), "both left out and not listed"),
    (leaf(Entry(b"a", FILE, 32, content=NONE)), "leaves out what is no directory"),
    (leaf(Entry(b"a", SYMLINK, 32)), "leaves out what is no directory"),
    (leaf(Entry(b"a", NAME, 0)), "without saying why"),
    (leaf(Entry(b"a", NAME, 48)), "name only with flags 48"),
    *(
        (leaf(Entry(b"a", NAME, 16 | flag, links=(0, 2), inode_flags=16)), "name only with flags")
        for flag in (1, 2, 8, 64, 128)
    ),
    (leaf(Entry(b"a", NAME, 16, uid=1)), "name only with numbers"),
    (leaf(Entry(b"a", NAME, 16, user="one")), "name only with numbers"),
    (leaf(Entry(b"a", NAME, 16, changed=(1, 0))), "name only with numbers"),
    (leaf(Entry(b"a", NAME, 32), folder(b"a/b")), "in no directory"),
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
    (leaf(Entry(b"a", SYMLINK, 4, extents=[u8(0), 0])), "holes in what is no file"),
]
