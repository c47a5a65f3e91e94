"""The ground: errors, limits, numbers, hashes and seals.

Implements FORMAT.md §1 (conventions), §14 (limits) and the key table of §3. Every other file stands
on this one and nothing else is needed to read bytes safely.
"""

import io

import cbor2
from blake3 import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MIB = 1 << 20
CHUNK_MAX = 16 * MIB  # also the plaintext of a frame, and a node
PACK_MAX = (1 << 32) - 1
PACK_HEADER_MAX = 4096
SMALL_OBJECT_MAX = MIB  # config, session, abort record
LARGE_OBJECT_MAX = 256 * MIB  # snapshot, checkpoint
SECRETS_MAX = 256
SOURCES_MAX = 4096
PATH_MAX = MIB  # also the target of a symlink
XATTRS_MAX = 4 * MIB
TREE_LEVELS_MAX = 16
LIST_LEVELS_MAX = 8
NODE_ITEMS_MAX = 65_536  # entries of a leaf, children of an inner node
SEGMENT_PAGES = 4096

MAGIC = b"BACKSTAY"
ZERO_NONCE = bytes(12)
TAG = 16


class Damage(Exception):
    """An object breaks a rule of the format."""

    def __init__(self, name, what):
        super().__init__(f"{name}: {what}")


class Refused(Exception):
    """Nothing is broken, but this key or this program can't do it."""


def require(truth, name, what):
    if not truth:
        raise Damage(name, what)


def keyed_hash(key, data, length=32):
    """H, H16 and H24 of §1."""
    return blake3(data, key=key).digest()[:length]


def open_seal(key, nonce, aad, sealed, name):
    try:
        return AESGCM(key).decrypt(nonce, sealed, aad)
    except (InvalidTag, ValueError):
        raise Damage(name, "its seal does not open") from None


class Secret:
    """The keys that follow from one repository secret."""

    def __init__(self, secret):
        def derive(purpose):
            return blake3(secret, derive_key_context=f"backstay.dev format 1 {purpose}").digest()

        self.chunk = derive("chunk id")
        self.metadata = derive("metadata")
        self.names = derive("names")
        self.page = derive("page hash")
        self.tree = derive("tree")
        self.config = derive("config")


def u16(data, at):
    return int.from_bytes(data[at : at + 2], "little")


def u32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def signed64(number):
    """A number modulo 2^64, in two's complement."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def decode_cbor(data, name):
    """One CBOR map that fills `data`."""
    stream = io.BytesIO(data)
    try:
        record = cbor2.load(stream)
    except Exception as error:  # cbor2 lets errors of many kinds through
        raise Damage(name, f"is not CBOR: {error}") from None
    require(isinstance(record, dict) and stream.tell() == len(data), name, "is not one CBOR map")
    return record


def field(record, key, kind, name):
    """The value under `key`, which has to be there and of that type."""
    value = record.get(key) if isinstance(record, dict) else None
    fits = isinstance(value, kind) and not (kind is int and isinstance(value, bool))
    require(fits, name, f"key {key} is missing or not {kind.__name__}")
    return value


class Cursor:
    """Reads numbers and strings from bytes, and never past their end."""

    def __init__(self, data, name):
        self.data, self.name, self.at = data, name, 0

    def require(self, truth, what):
        require(truth, self.name, what)

    def take(self, length):
        self.require(length <= len(self.data) - self.at, "ends early")
        self.at += length
        return self.data[self.at - length : self.at]

    def u8(self):
        return self.take(1)[0]

    def var(self):
        number = 0
        for shift in range(0, 70, 7):
            byte = self.u8()
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                self.require(number < 1 << 64, "has a number over 64 bits")
                return number
        raise Damage(self.name, "has a number of more than 10 bytes")

    def svar(self):
        number = self.var()
        return (number >> 1) ^ -(number & 1)

    def count(self, most=CHUNK_MAX):
        """How many of something follow; each takes a byte at least."""
        number = self.var()
        self.require(number <= min(most, len(self.data) - self.at), "counts too many")
        return number

    def bytes(self, most=CHUNK_MAX):
        length = self.var()
        self.require(length <= most, "has too long a string")
        return bytes(self.take(length))

    def text(self):
        try:
            return self.bytes().decode()
        except UnicodeDecodeError:
            raise Damage(self.name, "has text that is not UTF-8") from None

    def end(self):
        self.require(self.at == len(self.data), "goes on after its end")
