"""A session that collects sources, for the self-test alone.

Puts the nodes of scribe.py into the packs of packer.py: trees with few items per node, so that
small ones have levels, and page maps, full and overlay.
"""

import itertools

import scribe
from entry import order
from packer import Pack
from packs import DATA, METADATA
from primitives import keyed_hash
from writer import Session

PAGE = 512
SEGMENT = 4096 * PAGE


class Author(Session):
    """A session with a data pack and a metadata pack, and the sources that it collects."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.data = Pack(self, DATA)
        self.nodes = Pack(self, METADATA, padding=b"padding")
        self.sources, self.expected = [], {}

    def store(self, *chunks, zipped=True):
        return self.data.add(chunks, zipped)

    def node(self, data):
        return self.nodes.add([data])[0]

    def close(self):
        for pack in self.packs:
            pack.close()

    def tree(self, entries, width=3):
        """The root of nodes with so many items each."""
        secret = self.repository.secrets[self.number]
        groups = [entries[n : n + width] for n in range(0, len(entries), width)]
        row = [(self.node(scribe.leaf(group)), group) for group in groups]
        for level in itertools.count(1):
            groups = [row[n : n + width] for n in range(0, len(row), width)]
            below = [[one for _, part in group for one in part] for group in groups]
            refs = [self.node(scribe.inner(level, group, secret)) for group in groups]
            row = list(zip(refs, below, strict=True))
            if len(row) == 1:
                return row[0][0]

    def source(self, name, files, width=3, kind="directory", facts=None):
        """`files` are pairs of an entry and its bytes."""
        files = sorted(files, key=lambda pair: order(pair[0].path))
        entries = [one for one, _ in files]
        root, size = self.tree(entries, width), sum(one.size for one in entries)
        record = {0: name, 1: kind, 2: f"/{name}", 3: list(root), 4: len(entries), 5: size}
        record |= {6: facts or {0: False}, 7: 0, 8: [], 9: False, 10: size, 11: 0}
        self.sources.append(record)
        self.expected[name] = files

    def page_hash(self, page):
        return keyed_hash(self.repository.secrets[self.number].page, page, 8)

    def place(self, pages):
        """One chunk of all pages that are not zeros, and the runs that place all."""
        stored, runs, first = [page for page in pages if any(page)], [], 0
        for full, group in itertools.groupby(pages, any):
            length = len(list(group))
            runs.append((length, 1, first) if full else (length, 0))
            first += length if full else 0
        return self.store(b"".join(stored)) if stored else [], runs

    def full(self, data):
        pages = split(data, PAGE)
        hashes = [self.page_hash(page) for page in pages]
        return self.node(scribe.full_map(hashes, *self.place(pages)))

    def overlay(self, full, old, new):
        old, new = split(old, PAGE), split(new, PAGE)
        changed = [n for n, page in enumerate(new) if n >= len(old) or old[n] != page]
        patches, end = [], 0
        for _, group in itertools.groupby(enumerate(changed), lambda pair: pair[1] - pair[0]):
            numbers = [number for _, number in group]
            patches.append((numbers[0] - end, [self.page_hash(new[n]) for n in numbers]))
            end = numbers[-1] + 1
        chunks, runs = self.place([new[n] for n in changed])
        return self.node(scribe.overlay_map(full, len(new), chunks, patches, runs))


def split(data, length):
    return [data[n : n + length] for n in range(0, len(data), length)]
