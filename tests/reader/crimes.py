"""Sound seals around what the document forbids, for the self-test alone; none may get through.

`PACKS` break rules of FORMAT.md §6, `RECORDS` of §10, `INDEXES` of §11, `CONFIGS` of §5;
forgeries.py, forged_files.py and forged_facts.py those between. Each names a part of what the reader has to say.
"""

import tempfile

import pyrage
import zstandard

from court import Court
from forged_facts import FACTS
from forged_files import FILES
from forgeries import ROOT, TREES, under
from packer import Pack
from packs import DATA

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


def said(**wrong):
    """A pack whose end says something else."""

    def make(author):
        pack = frame()(author)
        vars(pack).update(wrong)
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
    (spoiled(9, 3), "version 2", 2),
    (spoiled(-1), "no zeros"),
    (frame(chunks=()), "frame without chunks"),
    (said(first=4097), "too short or too long"),
    (said(first=86), "do not agree"),
    (said(zeros=b"12345678"), "no zeros in its trailer"),
]


def source(name="name"):
    return {0: name, 1: "directory", 2: "", 4: 1, 5: 0, 6: {0: False}}


RECORDS = [
    *(({7: [name]}, "source name") for name in ("", "a" * 256)),
    *(({7: [name]}, "source named") for name in (".a", "a/b", "a\0b")),
    ({7: ["a", "a"]}, "two sources"),
    ({7: [str(n) for n in range(4097)]}, "too many sources"),
    ({0: bytes(12)}, "session id"),
    ({6: 7}, "checkpoint"),
    ({7: "text"}, "key 7"),
    ({1: "another job"}, "lane"),
    ({2: "another host"}, "lane"),
    ({1: "jobhost", 2: ""}, "lane"),
    ({10: [[bytes(24), 1, bytes(32)]]}, "can't have written"),
    ({10: "text"}, "key 10"),
    ({12: 1}, "secret of its session"),
]
INDEXES = [({"log": 8}, "pages of a wrong length"), ({"entry_pages": 0}, "no or too many pages")]
CONFIGS = [
    ({"k0": 2}, 2, "newer"),
    ({"k3": ["cold-packs"]}, 2, "newer"),
    ({"k1": 3}, 6, "wrong name"),
    ({"k6": "text"}, 6, "key 6"),
    ({"id": bytes(16)}, 6, "its repository is not the key's"),
    ({"secrets": 2}, 6, "not of the newest secret"),
    ({"k9": bytes(32)}, 6, "who can open it"),
    ({"k7": []}, 6, "who can open it"),
]


def tree(court, root):
    court.commit([source() | {3: list(root(court.author))}])


def pack(court, make):
    make(court.author)
    court.commit([])


def record(court, changes):
    root = under(court.author, [ROOT])
    if isinstance(changes.get(7), list):
        changes = {7: [source(name) | {3: list(root)} for name in changes[7]]}
    court.commit([], **{f"k{key}": value for key, value in changes.items()})


def facts(court, how):
    kind, facts = how
    root = under(court.author, [ROOT])
    court.commit([source() | {1: kind, 3: list(root), 6: facts}])


def index(court, how):
    if how.get("entry_pages") == 0:
        court.commit([])
    else:
        pack(court, frame())
    court.author.index(**how)


def replaced_keys(run):
    """Who has an agent key alone writes two configs with a content identity of his own."""
    with tempfile.TemporaryDirectory() as place:
        court = Court(place, run)
        own = pyrage.x25519.Identity.generate()
        for generation in (1, 2):
            bundle = court.repository.bundle(1, [own])
            court.config(generation, bundle, own)
        court.judge("do not begin with those of", 0, "list")
        court.judge("do not begin with those of")


def break_every_rule(run):
    """How many broken rules were found."""
    cases = [(tree, *one) for one in TREES + FILES] + [(pack, *one) for one in PACKS]
    cases += [(facts, one[:2], one[2]) for one in FACTS]
    cases += [(record, *one) for one in RECORDS] + [(index, *one) for one in INDEXES]
    for commit, crime, what, *code in cases:
        with tempfile.TemporaryDirectory() as place:
            court = Court(place, run)
            commit(court, crime)
            court.judge(what, *code)
    for config, code, what in CONFIGS:
        with tempfile.TemporaryDirectory() as place:
            Court(place, run, **config).judge(what, code)
    replaced_keys(run)
    return len(cases) + len(CONFIGS) + 1
