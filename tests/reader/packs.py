"""Packs: header, frames, directory and trailer.

Implements FORMAT.md §6. Frames are decrypted and decompressed here; which part of a frame is which
chunk is said by references (nodes.py) or by the directory.
"""

from functools import lru_cache

import zstandard
from blake3 import blake3

from cursor import Cursor
from objects import check_header
from primitives import (
    CHUNK_MAX,
    DIRECTORY_MAX,
    PACK_HEADER_MAX,
    PACK_MAX,
    TAG,
    ZERO_NONCE,
    keyed_hash,
    open_seal,
    require,
    u16,
    u32,
    u64,
)
from store import pack_name

DATA, METADATA = 1, 2
FIXED, TRAILER, HASH_AND_MAGIC = 86, 64, 40


class Packs:
    def __init__(self, store, keys):
        self.store, self.keys = store, keys
        self.header = lru_cache(1024)(self._header)
        self.session_secret = lru_cache(1024)(keys.open_session)
        self.frame = lru_cache(8)(self._frame)

    def kind(self, pack):
        """Needs no key, and so is not proven."""
        return self.store.read(pack_name(pack), 8, 1)[0]

    def _header(self, pack):
        """The kind, where frames begin, and the frame key."""
        name = pack_name(pack)
        size = self.store.size(name)
        require(size <= PACK_MAX, name, "is too large")
        fixed = self.store.read(name, 0, FIXED)
        kind = check_header(fixed, {DATA, METADATA}, self.keys.repository, name)
        length = u16(fixed, 10)
        sealed = u16(fixed, 84)
        require(length <= PACK_HEADER_MAX, name, "its header is too long")
        require(FIXED + sealed <= length, name, "its header is too short")
        require(fixed[28:52] == pack, name, "its pack id is not that of its name")
        require((kind == METADATA) == (sealed == 0), name, "has a wrong sealed length")
        rest = self.store.read(name, FIXED, length - FIXED)
        require(not any(rest[sealed:]), name, "has no zeros after the sealed secret")
        key = self.frame_key(kind, pack, rest[:sealed], name)
        require(keyed_hash(key, b"commitment") == fixed[52:84], name, "its commitment is wrong")
        return kind, length, key

    def frame_key(self, kind, pack, sealed, name):
        about = self.keys.repository + pack
        if kind == DATA:
            return keyed_hash(self.session_secret(sealed, name), b"data" + about)
        return keyed_hash(self.keys.secret(pack[23], name).metadata, b"metadata" + about)

    def _frame(self, pack, offset, stored, plain):
        """The plaintext of one frame."""
        name = f"{pack_name(pack)} frame at {offset}"
        check_frame(stored, plain, name)
        _, _, key = self.header(pack)
        place = offset.to_bytes(4, "little")
        aad = self.keys.repository + pack + place + plain.to_bytes(4, "little")
        sealed = self.store.read(pack_name(pack), offset, stored)
        content = open_seal(key, place + bytes(8), aad, sealed, name)
        return content if len(content) == plain else decompress(content, plain, name)

    def trailer(self, pack):
        """Directory offset, directory stored length, pack length."""
        name = pack_name(pack)
        size = self.store.size(name)
        require(FIXED + TRAILER <= size <= PACK_MAX, name, "is too small or too large")
        trailer = self.store.read(name, size - TRAILER, TRAILER)
        require(trailer[56:] == b"YATSKCAB", name, "does not end with YATSKCAB")
        require(not any(trailer[16:24]), name, "has no zeros in its trailer")
        start, length = u32(trailer, 0), u32(trailer, 4)
        require(u64(trailer, 8) == size, name, "its length is not that in its trailer")
        require(start + length + TRAILER == size, name, "its directory is not at its end")
        require(length <= DIRECTORY_MAX, name, "its directory is too large")
        return start, length, size

    def directory(self, pack):
        """Where frames begin; per frame offset, stored and plain length, [(chunk length, id)]."""
        name = pack_name(pack)
        start, length, _ = self.trailer(pack)
        about = self.keys.repository + pack
        key = keyed_hash(self.keys.secret(pack[23], name).metadata, b"directory" + about)
        sealed = self.store.read(name, start, length)
        plain = open_seal(key, ZERO_NONCE, about, sealed, f"{name} directory")
        return read_directory(Cursor(plain, f"{name} directory"), start)

    def check_hash(self, pack):
        """Needs no key: the trailer's hash. Returns the length and hash of the whole."""
        name = pack_name(pack)
        whole = self.store.whole(name, PACK_MAX)
        require(len(whole) >= TRAILER, name, "ends early")
        fits = blake3(whole[:-HASH_AND_MAGIC]).digest() == whole[-HASH_AND_MAGIC:-8]
        require(fits, name, "its hash is not that in its trailer")
        return len(whole), blake3(whole).digest()


def check_frame(stored, plain, name):
    require(plain <= CHUNK_MAX, name, "is too large")
    require(TAG <= stored <= plain + TAG, name, "is stored in too many or too few bytes")


def decompress(content, plain, name):
    """One zstd frame of exactly that content."""
    try:
        stated = zstandard.frame_content_size(content)
        require(stated in (-1, plain), name, "states another plain length")
        decoder = zstandard.ZstdDecompressor(max_window_size=CHUNK_MAX)
        found = decoder.decompress(content, max_output_size=plain, allow_extra_data=False)
    except zstandard.ZstdError as error:
        require(False, name, f"does not decompress: {error}")
    require(len(found) == plain, name, "has another plain length")
    return found


def read_directory(cursor, end):
    first = offset = cursor.var()
    fits = FIXED <= first <= PACK_HEADER_MAX
    cursor.require(fits, "says that the header is too short or too long")
    frames = []
    for _ in range(cursor.count()):
        stored, plain = cursor.var(), cursor.var()
        check_frame(stored, plain, cursor.name)
        chunks = [(cursor.var(), cursor.take(24)) for _ in range(cursor.count())]
        cursor.require(chunks, "has a frame without chunks")
        fits = sum(length for length, _ in chunks) == plain
        cursor.require(fits, "chunk lengths do not sum to the frame's plain length")
        frames.append((offset, stored, plain, chunks))
        offset += stored
    cursor.end()
    cursor.require(offset <= end, "its frames run into the directory")
    return first, frames
