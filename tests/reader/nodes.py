"""References to chunks, and nodes, which name many of them briefly.

Implements FORMAT.md §7.
"""

from typing import NamedTuple

from cursor import Cursor
from packs import DATA, METADATA, check_frame
from primitives import CHUNK_MAX, PACK_MAX, keyed_hash, require
from store import pack_name

LEAF, INNER, LIST, PAGE_MAP, EXTENTS = 1, 2, 3, 4, 5


class Ref(NamedTuple):
    """Where a chunk is, and which it is."""

    pack: bytes
    frame: int
    stored: int
    plain: int
    offset: int
    length: int
    id: bytes


def checked(ref, name):
    """The reference, if its numbers fit."""
    check_frame(ref.stored, ref.plain, name)
    require(ref.frame + ref.stored <= PACK_MAX, name, "refers past the end of a pack")
    require(ref.offset + ref.length <= ref.plain, name, "refers past the end of a frame")
    return ref


def reference(array, name):
    """A reference outside nodes: a CBOR array."""
    require(len(array) == 7, name, "has a reference that is not of seven parts")
    pack, *numbers, id = array
    fits = all(isinstance(n, int) and n >= 0 for n in numbers)
    fits = fits and isinstance(pack, bytes) and isinstance(id, bytes)
    require(fits and len(pack) == len(id) == 24, name, "has a reference of wrong parts")
    return checked(Ref(pack, *numbers, id), name)


def chunk(packs, ref, kind):
    """The bytes of the chunk, found to be the right ones, from a pack of that kind."""
    name = f"{pack_name(ref.pack)} chunk {ref.id.hex()}"
    found, start, _ = packs.header(ref.pack)
    require(found == kind, name, "is in a pack of the wrong kind")
    require(ref.frame >= start, name, "is in a frame that begins in the header")
    plain = packs.frame(ref.pack, ref.frame, ref.stored, ref.plain)
    bytes_ = plain[ref.offset : ref.offset + ref.length]
    key = packs.keys.secret(ref.pack[23], name).chunk
    require(keyed_hash(key, bytes_, 24) == ref.id, name, "is not the chunk of that id")
    return bytes_


def data_chunk(packs, ref):
    return chunk(packs, ref, DATA)


class Node(Cursor):
    """A node whose kind and frame table are read; what follows is its body."""

    def __init__(self, packs, ref, kinds):
        name = f"{pack_name(ref.pack)} node {ref.id.hex()}"
        require(ref.length <= CHUNK_MAX, name, "is too large")
        super().__init__(chunk(packs, ref, METADATA), name)
        self.place, self.spelled = ref, 0  # bytes of its paths so far
        self.kind = self.u8()
        self.require(self.kind in kinds, f"is a node of kind {self.kind}")
        ids = [self.take(24) for _ in range(self.count())]
        self.frames = [self.frame(ids) for _ in range(self.count())]

    def frame(self, ids):
        pack, offset, stored, plain = (self.var() for _ in range(4))
        self.require(pack < len(ids), "names a pack that is not in its table")
        return ids[pack], offset, stored, plain

    def ref(self):
        number, offset, length = self.var(), self.var(), self.var()
        self.require(number < len(self.frames), "names a frame that is not in its table")
        return checked(Ref(*self.frames[number], offset, length, self.take(24)), self.name)
