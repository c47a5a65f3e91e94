"""The config, which says what one must know and who can open the repository.

Implements FORMAT.md §5. Whoever may write to a store can put a config there, so one that does not
open, or replaces keys, is passed over with a warning where an older one opens.
"""

from blake3 import blake3

from keys import KeyFile
from objects import CONFIG, check_header
from primitives import (
    SMALL_OBJECT_MAX,
    Damage,
    Newer,
    Refused,
    decode_cbor,
    field,
    keyed_hash,
    require,
)
from store import invert, parts

HEADER, TAG = 28, 32
OWNER = "backstay.dev format 1 owner"


class Config:
    """One generation, not yet trusted."""

    def __init__(self, store, name):
        self.name, self.data = name, store.whole(name, SMALL_OBJECT_MAX)
        require(len(self.data) >= HEADER + TAG, name, "ends early")
        check_header(self.data, {CONFIG}, None, name)
        require(self.data[11] == 0, name, "byte 11 is not 0")
        record = decode_cbor(self.data[HEADER:-TAG], name)
        refuse_newer(record, name)
        generation = field(record, 1, int, name)
        require(generation == invert(parts(name)[0]), name, "is under a wrong name")
        self.record, self.generation = record, generation
        self.envelopes = [
            (field(one, 0, str, name), field(one, 2, bytes, name))
            for one in field(record, 6, list, name)
        ]

    def open(self, key_file):
        """The keys that the file gives here, once the last 32 bytes are found right."""
        keys = key_file.open(self.envelopes)
        require(keys.repository == self.data[12:28], self.name, "its repository is not the key's")
        newest = not keys.identities or self.data[10] == len(keys.secrets) - 1
        require(newest, self.name, "its tag is not of the newest secret")
        self.check_tag(keys)
        if keys.identities:
            self.check_owner(keys.raw_identities[-1])
        return keys

    def check_owner(self, identity):
        """Only who can open an envelope can have written it."""
        record, tag = self.record, self.record.get(9)
        said = var(self.generation) + b"".join(self.texts(key) for key in (3, 4, 5))
        said += var(len(record[6]))
        for one in record[6]:
            said += text(field(one, 0, str, self.name))
            said += texts(field(one, 1, list, self.name), self.name)
            said += text(field(one, 2, bytes, self.name))
        said += self.texts(7)
        key = blake3(identity.encode(), derive_key_context=OWNER).digest()
        require(tag == keyed_hash(key, said), self.name, "was not written by one who can open it")

    def texts(self, key):
        return texts(field(self.record, key, list, self.name), self.name)

    def check_tag(self, keys):
        tag = keyed_hash(keys.secret(self.data[10], self.name).config, self.data[:-TAG])
        require(tag == self.data[-TAG:], self.name, "its last 32 bytes do not fit")


def var(number):
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + var(rest) if rest else bytes([low])


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return var(len(data)) + data


def texts(values, name):
    require(all(isinstance(one, str) for one in values), name, "has something else than text")
    return var(len(values)) + b"".join(text(one) for one in values)


def refuse_newer(record, name):
    if field(record, 0, int, name) != 1:
        raise Newer(name, f"has format {record[0]}, which this reader does not know")
    if unknown := field(record, 3, list, name):
        raise Newer(name, f"needs the features {unknown}, which this reader does not know")


def open_repository(store, key_file):
    """The keys in the newest config that opens and goes on from those before; and what is wrong with
    newer ones."""
    key_file, names = KeyFile(key_file), store.names("config")
    if not names:
        raise Refused(f"{store.directory}: there is no repository")
    failures = []
    for at, name in enumerate(names):
        try:
            keys = Config(store, name).open(key_file)
            check_descent(store, keys, name, names[at + 1 :], key_file)
            return keys, failures
        except Newer:
            raise
        except (Damage, Refused) as error:
            failures.append(error)
    raise failures[0]


def check_descent(store, keys, name, older, key_file):
    """Nobody can replace keys: all that the key opens of older configs is at the beginning."""
    for one in older if keys.identities else ():
        try:
            before = Config(store, one).open(key_file)
        except (Damage, Refused):
            continue
        fits = begins(keys.raw_secrets, before.raw_secrets)
        fits = fits and begins(keys.raw_identities, before.raw_identities)
        require(fits, name, f"its keys do not begin with those of {one}")


def begins(longer, shorter):
    return longer[: len(shorter)] == shorter
