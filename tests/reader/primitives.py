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
NODE_PATHS_MAX = 64 * MIB  # paths of a node, spelled out, together
LEAF_NAMES_MAX = 131_072  # of users and groups
LEAF_XATTRS_MAX = 524_288
DIRECTORY_MAX = 64 * MIB
SCRYPT_LOG2_MAX = 22
SEGMENT_PAGES = 4096
PAGE_MIN, PAGE_MAX = 512, MIB  # bytes of a page of a file
FILE_MAX = (1 << 63) - 1

MAGIC = b"BACKSTAY"
ZERO_NONCE = bytes(12)
TAG = 16


class Damage(Exception):
    """An object breaks a rule of the format."""

    def __init__(self, name, what):
        super().__init__(f"{name}: {what}")


class Newer(Damage):
    """Not broken, perhaps, but made by a program that came after this one."""


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


def var(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def string(data):
    return var(len(data)) + data


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
