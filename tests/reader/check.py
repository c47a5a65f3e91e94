"""Reads everything in a repository and names all that is damaged.

Goes beyond what a restore needs: every config (FORMAT.md §5), hashes and directories of packs (§6),
index tables (§11), sessions (§12), the chain of checkpoints (§13), and what audit.py finds in files.
With an agent key the frames of data packs are left out.
"""

from blake3 import blake3

from audit import Audit
from config import Config
from facts import known_facts
from index import Index
from objects import SESSION, open_object
from packs import METADATA
from primitives import (
    LARGE_OBJECT_MAX,
    Damage,
    field,
    keyed_hash,
    require,
    string,
    u16,
)
from snapshots import Checkpoint, newest_checkpoint, open_snapshot
from store import invert, inverted, pack_id, pack_name, parts


def check(store, keys, packs):
    """All damage that is found."""
    damage, audit = [], Audit(packs, keys)
    try:
        valid = newest_checkpoint(store, keys, lambda _: None).counts
    except Damage:  # named below, with its object
        valid = Checkpoint().counts

    def each(folder, look):
        for name in store.names(folder):
            try:
                look(name)
            except Damage as error:
                damage.append(error)

    each("config", lambda name: check_config(store, keys, name))
    each("session", lambda name: check_session(store, keys, name))
    each("checkpoint", lambda name: check_checkpoint(store, keys, name))
    each("pack", lambda name: check_pack(keys, packs, name))
    each("index", lambda name: check_index(keys, packs, name))
    each("snapshot", lambda name: check_snapshot(store, keys, audit, name, valid(name)))
    return damage


def check_config(store, keys, name):
    config = Config(store, name)
    fits = config.data[12:28] == keys.repository
    require(fits, name, "belongs to another repository")
    config.check_tag(keys)


def check_session(store, keys, name):
    _, record = open_object(store, keys, name, {SESSION})
    own = field(record, 0, bytes, name)
    require(own.hex() == parts(name)[3], name, "its session id is not that of its name")


def check_checkpoint(store, keys, name):
    checkpoint = Checkpoint(store, keys, name)
    before = f"checkpoint/{inverted(checkpoint.number - 1)}"
    wanted = b""
    if checkpoint.number > 1:
        if before not in store.names("checkpoint"):
            return
        wanted = blake3(store.whole(before, LARGE_OBJECT_MAX)).digest()
    require(checkpoint.before == wanted, name, "does not follow from the checkpoint before")


def check_pack(keys, packs, name):
    pack = pack_id(name)
    packs.check_hash(pack)
    readable = keys.identities or packs.kind(pack) == METADATA
    if readable:
        packs.header(pack)
    first, frames = packs.directory(pack)
    fits = u16(packs.store.read(name, 10, 2), 0) == first
    require(fits, name, "its directory and its header do not agree on the header's length")
    if not readable:
        return
    key = keys.secret(pack[23], name).chunk
    for offset, stored, plain, chunks in frames:
        content, at = packs.frame(pack, offset, stored, plain), 0
        for length, id in chunks:
            found = keyed_hash(key, content[at : at + length], 24)
            require(found == id, name, f"has another chunk than {id.hex()} in frame {offset}")
            at += length


def check_index(keys, packs, name):
    index = Index(packs.store, keys, name)
    tables = []
    for number in range(index.packs):
        pack, *where = index.pack(number)
        fits = tuple(where) == packs.trailer(pack)
        require(fits, name, f"is wrong about the directory of {pack_name(pack)}")
        _, frames = packs.directory(pack)
        tables.append([id for *_, chunks in frames for _, id in chunks])
    for start, number, place in index.all_entries():
        require(number < len(tables), name, f"has no pack {number}")
        ids = tables[number]
        require(place < len(ids) and ids[place][:8] == start, name, "points to another chunk")
        found = (number, place) in index.lookup(ids[place])
        require(found, name, f"has {start.hex()} where no lookup finds it")


def check_snapshot(store, keys, audit, name, valid):
    """What a checkpoint removed may lack its packs, but its record is sound too."""
    snapshot = open_snapshot(store, keys, name)
    if snapshot is None:
        return
    lane, sequence, *_ = parts(name)
    series = b"".join(string(text.encode()) for text in snapshot.series)
    fits = lane == keyed_hash(keys.secret(0, name).names, series, 16).hex()
    require(fits, name, "is in the lane of another job or host")
    for source in snapshot.sources.values():
        known_facts(source, name)
    require(invert(sequence) > 0, name, "has a sequence before the first")
    if valid:
        audit.snapshot(snapshot)
