"""The config, and the form shared by sessions, snapshots, abort records and checkpoints.

Implements FORMAT.md §4 (sealed objects) and §5 (config).
"""

from keys import load_keys
from primitives import (
    LARGE_OBJECT_MAX,
    MAGIC,
    SMALL_OBJECT_MAX,
    ZERO_NONCE,
    Refused,
    decode_cbor,
    field,
    keyed_hash,
    open_seal,
    require,
)
from store import invert, parts

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
    require(data[:8] == MAGIC, name, "does not begin with BACKSTAY")
    require(data[8] in kinds, name, f"is of kind {data[8]}")
    require(data[9] == 1, name, f"has version {data[9]}, which this reader does not know")
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


def open_repository(store, key_file):
    """The keys, once the newest config is found sound."""
    names = store.names("config")
    if not names:
        raise Refused(f"{store.directory}: there is no repository")
    name = names[0]
    data = store.whole(name, SMALL_OBJECT_MAX)
    require(len(data) >= 28 + 32, name, "ends early")
    check_header(data, {CONFIG}, None, name)
    require(data[11] == 0, name, "byte 11 is not 0")
    record = decode_cbor(data[28:-32], name)
    refuse_newer(record, name)
    require(field(record, 1, int, name) == invert(parts(name)[0]), name, "is under a wrong name")
    keys = load_keys(key_file, read_envelopes(record, name))
    require(keys.repository == data[12:28], name, "its repository id is not that of the key")
    mac = keyed_hash(keys.secret(data[10], name).config, data[:-32])
    require(mac == data[-32:], name, "its last 32 bytes do not fit")
    recipients = field(record, 7, list, name)
    fit = not keys.identities or recipients == keys.recipients
    require(fit, name, "its content recipients are not those of the key bundle")
    return keys


def refuse_newer(record, name):
    if field(record, 0, int, name) != 1:
        raise Refused(f"{name}: format {record[0]} is newer than this reader")
    if unknown := field(record, 3, list, name):
        raise Refused(f"{name}: this reader does not know the features {unknown}: newer repository")


def read_envelopes(record, name):
    envelopes = field(record, 6, list, name)
    return [(field(one, 0, str, name), field(one, 2, bytes, name)) for one in envelopes]
