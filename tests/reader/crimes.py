"""Sound seals around what the document forbids, for the self-test alone; none may get through.

`PACKS` break rules of FORMAT.md §6, `RECORDS` of §10, `CONFIGS` of §5, and `TREES` of forgeries.py
those between. Each names a part of what the reader has to say.
"""

import os
import tempfile

import pyrage
import zstandard

import scribe
from author import Author
from forgeries import ROOT, TREES
from packer import Pack
from packs import DATA
from writer import Repository

MIB = 1 << 20


def frame(chunks=(b"chunk",), **how):
    def make(author):
        pack = Pack(author, DATA)
        pack.add(list(chunks), **how)
        return pack

    return make


def stored(data, plain):
    """A frame of bytes that should be zstd."""

    def make(author):
        pack = Pack(author, DATA)
        pack.add([data], zipped=False, plain=plain)
        length, _, chunks = pack.frames[0]
        pack.frames[0] = length, plain, [(plain, id) for _, id in chunks]
        return pack

    return make


def spoiled(at, byte=1):
    def make(author):
        pack = Pack(author, DATA)
        pack.data[at] ^= byte
        return pack

    return make


ZIPPED = zstandard.compress(bytes(1000))
PACKS = [
    (frame(plain=6, zipped=False), "do not sum"),
    (stored(b"noise" * 20, 200), "does not decompress"),
    (stored(ZIPPED, 999), "plain length"),
    (stored(ZIPPED, 1001), "plain length"),
    (stored(ZIPPED + ZIPPED, 1000), "does not decompress"),
    (stored(b"long", 16 * MIB + 1), "too large"),
    (lambda author: Pack(author, DATA, header=4097), "header is too long"),
    (lambda author: Pack(author, DATA, header=100), "header is too short"),
    (spoiled(52), "commitment"),
    (spoiled(30), "pack id"),
    (spoiled(9, 3), "version 2"),
    (spoiled(-1), "no zeros"),
]


def source(name="name", **changes):
    return {0: name, 1: "directory", 2: "", 4: 1, 5: 0} | changes


RECORDS = [
    *(({7: [name]}, "source name") for name in ("", "a" * 256)),
    *(({7: [name]}, "source named") for name in (".a", "a/b", "a\0b")),
    ({7: ["a", "a"]}, "two sources"),
    ({7: [str(n) for n in range(4097)]}, "too many sources"),
    ({0: bytes(12)}, "session id"),
    ({6: 7}, "checkpoint"),
    ({7: "text"}, "key 7"),
]
CONFIGS = [
    ({"k0": 2}, 2, "newer"),
    ({"k3": ["cold-packs"]}, 2, "newer"),
    ({"k1": 3}, 6, "wrong name"),
    ({"k7": []}, 6, "recipients"),
]


class Court:
    """A repository with one key, for one crime."""

    def __init__(self, place, run, **config):
        self.place, self.run = place, run
        self.key, identity = os.path.join(place, "key"), pyrage.x25519.Identity.generate()
        with open(self.key, "w", encoding="utf-8") as file:
            file.write(str(identity))
        recipient = identity.to_public()
        self.repository = Repository(os.path.join(place, "repository"), [bytes(32)])
        other = config.pop("id", self.repository.id)
        bundle = self.repository.bundle(1, [identity]).replace(self.repository.id, other)
        envelope = {0: "one", 1: [str(recipient)], 2: pyrage.encrypt(bundle, [recipient])}
        self.repository.config(0, 0, [envelope], [recipient], **config)
        self.author = Author(self.repository, 0, "job", 1, 0, recipient)

    def commit(self, roots, **changes):
        self.author.close()
        records = [source(name) | {3: list(root)} for name, root in roots]
        self.author.commit(records, 1, **changes)

    def judge(self, what, wanted=6):
        code, _, errors = self.run("check", os.path.join(self.place, "repository"), self.key)
        assert code == wanted and what in errors, (what, code, errors)


def tree(court, root):
    court.commit([("name", root(court.author))])


def pack(court, make):
    make(court.author)
    court.commit([])


def record(court, changes):
    root = court.author.node(scribe.leaf([ROOT]))
    if isinstance(changes.get(7), list):
        changes = {7: [source(name) | {3: list(root)} for name in changes[7]]}
    court.commit([], **{f"k{key}": value for key, value in changes.items()})


def break_every_rule(run):
    """How many broken rules were found."""
    cases = [(tree, *one) for one in TREES] + [(pack, *one) for one in PACKS]
    cases += [(record, *one) for one in RECORDS]
    for commit, crime, what in cases:
        with tempfile.TemporaryDirectory() as place:
            court = Court(place, run)
            commit(court, crime)
            court.judge(what)
    configs = [*CONFIGS, ({"id": bytes(16)}, 6, "repository id")]
    for config, code, what in configs:
        with tempfile.TemporaryDirectory() as place:
            Court(place, run, **config).judge(what, code)
    return len(cases) + len(configs)
