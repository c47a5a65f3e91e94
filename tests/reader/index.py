"""Index tables: from a chunk id to its place.

Implements FORMAT.md §11. A restore needs none; `restore.py check` compares tables with directories.
"""

from objects import INDEX, check_header
from primitives import keyed_hash, open_seal, require, u16, u32, u64

HEADER = 80
TAG_AND_COUNT = 18


class Index:
    def __init__(self, store, keys, name):
        self.store, self.name = store, name
        self.header = store.read(name, 0, HEADER)
        check_header(self.header, {INDEX}, keys.repository, name)
        require(9 <= self.header[11] <= 16, name, "has pages of a wrong length")
        self.page = 1 << self.header[11]
        self.entry_pages, self.pack_pages = u32(self.header, 60), u32(self.header, 64)
        self.entries, self.packs = u64(self.header, 68), u32(self.header, 76)
        pages = self.entry_pages + self.pack_pages
        fits = min(self.entry_pages, self.pack_pages) > 0 and pages < 1 << 32
        require(fits, name, "has no or too many pages of a kind")
        size = HEADER + pages * self.page
        require(store.size(name) == size, name, "is not as long as its header says")
        metadata = keys.secret(self.header[10], name).metadata
        self.key = keyed_hash(metadata, b"index" + self.header[28:60])

    def open_page(self, number, item):
        """The items of a page, `item` bytes each."""
        sealed = self.store.read(self.name, HEADER + number * self.page, self.page)
        name = f"{self.name} page {number}"
        nonce = number.to_bytes(4, "little") + bytes(8)
        plain = open_seal(self.key, nonce, self.header + self.name.encode(), sealed, name)
        count = u16(plain, 0)
        require(count <= self.room(item), name, "counts more than it holds")
        require(not any(plain[2 + count * item :]), name, "has no zeros in its unused room")
        return [plain[2 + n * item :][:item] for n in range(count)]

    def room(self, item):
        return (self.page - TAG_AND_COUNT) // item

    def pack(self, number):
        """Id, directory offset, directory stored length and pack length."""
        page, place = divmod(number, self.room(40))
        packs = self.open_page(self.entry_pages + page, 40) if page < self.pack_pages else []
        require(number < self.packs and place < len(packs), self.name, f"has no pack {number}")
        found = packs[place]
        return found[:24], u32(found, 24), u32(found, 28), u64(found, 32)

    def lookup(self, chunk):
        """All (pack number, place in its directory) that may be the chunk."""
        start, found = int.from_bytes(chunk[:8], "big") * self.entry_pages >> 64, []
        for step in range(self.entry_pages):
            entries = self.open_page((start + step) % self.entry_pages, 16)
            found += [(u32(one, 8), u32(one, 12)) for one in entries if one[:8] == chunk[:8]]
            if len(entries) < self.room(16):
                break
        return found

    def all_entries(self):
        pages = range(self.entry_pages)
        found = [one for page in pages for one in self.open_page(page, 16)]
        require(len(found) == self.entries, self.name, "has more or fewer entries than it says")
        return [(one[:8], u32(one, 8), u32(one, 12)) for one in found]
