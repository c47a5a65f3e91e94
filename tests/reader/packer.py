"""Writes packs, for the self-test alone.

The other side of packs.py: FORMAT.md §6.
"""

import os

import zstandard
from blake3 import blake3

from nodes import Ref
from packs import DATA
from primitives import MAGIC, ZERO_NONCE, keyed_hash
from store import pack_name
from writer import little, seal, var


class Pack:
    """A pack that grows frame by frame; `close` writes it."""

    def __init__(self, session, kind, padding=b"", header=None):
        self.session, self.padding = session, padding
        secret, repository = session.repository.secrets[session.number], session.repository.id
        number = len(session.packs).to_bytes(4, "big")
        self.id = session.id + number + os.urandom(7) + bytes([session.number])
        self.about, self.chunk_key = repository + self.id, secret.chunk
        key, word = (session.secret, b"data") if kind == DATA else (secret.metadata, b"metadata")
        self.key, age = keyed_hash(key, word + self.about), session.age if kind == DATA else b""
        length = header or 86 + len(age) + 10
        fixed = MAGIC + bytes([kind, 1]) + little(length, 2) + self.about
        fixed += keyed_hash(self.key, b"commitment") + little(len(age), 2) + age
        self.first, self.zeros = length, bytes(8)
        self.data, self.frames = bytearray(fixed.ljust(length, b"\0")), []
        session.packs.append(self)

    def add(self, chunks, zipped=True, plain=None):
        """One frame of these chunks; returns references to them."""
        content = b"".join(chunks)
        plain = len(content) if plain is None else plain
        stored = zstandard.compress(content, 19) if zipped else content
        if len(stored) >= len(content):
            stored = content
        offset = len(self.data)
        aad = self.about + little(offset, 4) + little(plain, 4)
        self.data += seal(self.key, little(offset, 4) + bytes(8), aad, stored)
        listed = [(len(chunk), keyed_hash(self.chunk_key, chunk, 24)) for chunk in chunks]
        self.frames.append((len(stored) + 16, plain, listed))
        refs, at = [], 0
        for length, id in listed:
            refs.append(Ref(self.id, offset, len(stored) + 16, plain, at, length, id))
            at += length
        return refs

    def close(self):
        plain = var(self.first) + var(len(self.frames))
        for stored, length, chunks in self.frames:
            plain += var(stored) + var(length) + var(len(chunks))
            plain += b"".join(var(length) + id for length, id in chunks)
        self.data += self.padding
        start = len(self.data)
        metadata = self.session.repository.secrets[self.session.number].metadata
        key = keyed_hash(metadata, b"directory" + self.about)
        directory = seal(key, ZERO_NONCE, self.about, plain)
        self.data += directory
        self.where = little(start, 4) + little(len(directory), 4) + little(len(self.data) + 64, 8)
        self.data = bytes(self.data) + self.where + self.zeros
        self.data += blake3(self.data).digest() + b"YATSKCAB"
        self.session.repository.put(pack_name(self.id), self.data)
