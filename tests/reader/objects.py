"""The form shared by sessions, snapshots, abort records and checkpoints.

Implements FORMAT.md §4, and of §2 how all objects begin.
"""

from primitives import (
    LARGE_OBJECT_MAX,
    MAGIC,
    SMALL_OBJECT_MAX,
    ZERO_NONCE,
    Newer,
    decode_cbor,
    keyed_hash,
    open_seal,
    require,
)

SESSION, SNAPSHOT, ABORT, CHECKPOINT, INDEX, CONFIG = 3, 4, 5, 6, 7, 8
LIMITS = {
    SESSION: SMALL_OBJECT_MAX,
    SNAPSHOT: LARGE_OBJECT_MAX,
    ABORT: SMALL_OBJECT_MAX,
    CHECKPOINT: LARGE_OBJECT_MAX,
}
HEADER = 60


def check_header(data, kinds, repository, name):
    """The bytes that every object begins with; returns the kind."""
    require(len(data) >= 28, name, "ends early")
    require(data[:8] == MAGIC, name, "does not begin with BACKSTAY")
    require(data[8] in kinds, name, f"is of kind {data[8]}")
    if data[9] != 1:
        raise Newer(name, f"has version {data[9]}, which this reader does not know")
    if repository is not None:
        require(data[12:28] == repository, name, "belongs to another repository")
    return data[8]


def open_object(store, keys, name, kinds):
    """The kind and the record of a sealed object."""
    header = store.read(name, 0, HEADER)
    kind = check_header(header, kinds, keys.repository, name)
    require(header[11] == 0, name, "byte 11 is not 0")
    data = store.whole(name, LIMITS[kind])
    key = keyed_hash(keys.secret(header[10], name).metadata, b"object" + header[28:])
    plain = open_seal(key, ZERO_NONCE, header + name.encode(), data[HEADER:], name)
    return kind, decode_cbor(plain, name)
