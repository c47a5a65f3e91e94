"""What a snapshot says, held against what is there: sums, fingerprints, lengths, page hashes.

Implements what FORMAT.md §8 to §10 say of a snapshot, its trees and its files that a restore does not
need to look at. Content that several snapshots share is read once.
"""

from content import PAGES, items, pieces, runs
from entry import FILE, NOT_STORED, fingerprint
from leaf import read_leaf
from pages import Segment, page_blocks
from primitives import keyed_hash, require
from store import pack_name
from tree import open_node, read_children, walk


class Audit:
    def __init__(self, packs, keys):
        self.packs, self.keys, self.seen = packs, keys, set()

    def snapshot(self, snapshot):
        for pack, length, digest in snapshot.packs:
            found = self.packs.check_hash(pack)
            name = pack_name(pack)
            require(found == (length, digest), name, f"is not the one that {snapshot.name} states")
            require(pack[23] == snapshot.secret, name, "is not of the secret of its session")
        for source in snapshot.sources.values():
            entries = size = 0
            for entry in walk(self.packs, source.root):
                entries, size = entries + 1, size + entry.size
                if entry.type == FILE and not entry.flags & NOT_STORED:
                    self.file(entry)
            fits = (entries, size) == (source.entries, source.size)
            require(fits, snapshot.name, f"states wrong sums of {source.name}")
            self.fingerprints(source.root, None)

    def fingerprints(self, ref, level):
        """Those of all leaves below, with the secret of the pack that the inner node is in."""
        if ref in self.seen:
            return
        self.seen.add(ref)
        node, level = open_node(self.packs, ref, level)
        for child in read_children(node):
            if level > 1:
                self.fingerprints(child.ref, level - 1)
                node.require(not any(child.fingerprint), "has a fingerprint of what is no leaf")
            elif any(child.fingerprint):
                leaf, _ = open_node(self.packs, child.ref, 0)
                found = fingerprint(read_leaf(leaf), self.keys.secret(ref.pack[23], node.name))
                fits = found == child.fingerprint
                node.require(fits, f"has a wrong fingerprint of {child.last!r}")

    def file(self, entry):
        content = entry.content
        what = content, entry.size, tuple(entry.extents or ()), entry.extents is None
        if what in self.seen:
            return
        self.seen.add(what)
        data = sum(length for _, length in runs(self.packs, entry))
        wanted = entry.size if content.kind == PAGES else data
        all_items = items(self.packs, content, content.items, content.level, 0, entry.size)
        listed = [(length, ref) for _, length, ref in all_items]
        found = sum(length for length, _ in listed)
        what = f"has {entry.path!r} with {found} bytes of content, not {wanted}"
        require(found == wanted, entry.where, what)
        if self.keys.identities and (content.kind != PAGES or entry.extents is not None):
            for _ in pieces(self.packs, entry):
                pass
        if content.kind == PAGES:
            for length, ref in listed:
                self.segment(ref, content.parameter, length)

    def segment(self, ref, page, length):
        segment = Segment(self.packs, ref)
        fits = len(segment.places) == -(-length // page)
        require(fits, segment.name, "maps more or fewer pages than the file has there")
        blocks = page_blocks(self.packs, segment, page, length) if self.keys.identities else ()
        for number, block in enumerate(blocks):
            found, secret = segment.hashes[number]
            fits = keyed_hash(secret.page, block, 8) == found
            require(fits, segment.name, f"states a wrong hash of page {number}")
