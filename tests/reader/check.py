"""Reads everything in a repository and names all that is damaged.

Goes beyond what a restore needs: hashes and directories of packs (FORMAT.md §6), index tables
(§11), sessions (§12), the chain of checkpoints (§13), and sums, fingerprints and page hashes.
With an agent key the frames of data packs are left out.
"""

from blake3 import blake3

from content import PAGES, items, pieces
from index import Index
from leaf import FILE, NOT_STORED, fingerprint, read_leaf
from objects import CHECKPOINT, SESSION, open_object
from packs import METADATA
from pages import Segment, page_blocks
from primitives import LARGE_OBJECT_MAX, Damage, field, keyed_hash, require
from snapshots import open_snapshot, valid_names
from store import pack_id, pack_name, parts
from tree import open_node, read_children, walk


def check(store, keys, packs):
    """All damage that is found."""
    damage = []

    def each(folder, look):
        for name in store.names(folder):
            try:
                look(store, keys, packs, name)
            except Damage as error:
                damage.append(error)

    each("session", check_session)
    each("checkpoint", check_checkpoint)
    each("pack", check_pack)
    each("index", check_index)
    each("snapshot", check_snapshot)
    return damage


def check_session(store, keys, _, name):
    _, record = open_object(store, keys, name, {SESSION})
    own = field(record, 0, bytes, name)
    require(own.hex() == parts(name)[3], name, "its session id is not that of its name")


def check_checkpoint(store, keys, _, name):
    _, record = open_object(store, keys, name, {CHECKPOINT})
    names = store.names("checkpoint")
    before = names.index(name) + 1
    if before < len(names):
        whole = store.whole(names[before], LARGE_OBJECT_MAX)
        fits = field(record, 1, bytes, name) == blake3(whole).digest()
        require(fits, name, "does not follow from the checkpoint before")


def check_pack(_, keys, packs, name):
    pack = pack_id(name)
    packs.check_hash(pack)
    directory = packs.directory(pack)
    if not keys.identities and packs.kind(pack) != METADATA:
        return
    packs.header(pack)
    key = keys.secret(pack[23], name).chunk
    for offset, stored, plain, chunks in directory:
        content, at = packs.frame(pack, offset, stored, plain), 0
        for length, id in chunks:
            found = keyed_hash(key, content[at : at + length], 24)
            require(found == id, name, f"has another chunk than {id.hex()} in frame {offset}")
            at += length


def check_index(_, keys, packs, name):
    index = Index(packs.store, keys, name)
    tables = {}
    for start, number, place in index.all_entries():
        if number not in tables:
            pack, *_ = index.pack(number)
            frames = packs.directory(pack)
            tables[number] = [id for *_, chunks in frames for _, id in chunks]
        ids = tables[number]
        require(place < len(ids) and ids[place][:8] == start, name, "points to another chunk")
        found = (number, place) in index.lookup(ids[place])
        require(found, name, f"has {start.hex()} where no lookup finds it")


def check_snapshot(store, keys, packs, name):
    snapshot = open_snapshot(store, keys, name)
    if snapshot is None or name not in valid_names(store, keys):
        return
    for pack, length, digest in snapshot.packs:
        found = packs.check_hash(pack)
        require(found == (length, digest), pack_name(pack), f"is not the one that {name} states")
    for source in snapshot.sources.values():
        entries = size = 0
        for entry in walk(packs, source.root):
            entries, size = entries + 1, size + entry.size
            if entry.type == FILE and not entry.flags & NOT_STORED:
                check_file(keys, packs, entry)
        fits = (entries, size) == (source.entries, source.size)
        require(fits, name, f"states wrong sums of {source.name}")
        check_fingerprints(keys, packs, source.root, None)


def check_file(keys, packs, entry):
    if keys.identities:
        for _ in pieces(packs, entry):
            pass
    content = entry.content
    for _, length, ref in items(packs, content, content.items, content.level, 0, entry.size):
        if content.kind != PAGES:
            continue
        segment = Segment(packs, ref)
        blocks = page_blocks(packs, ref, content.parameter, length) if keys.identities else ()
        for number, block in enumerate(blocks):
            found, secret = segment.hashes[number]
            fits = keyed_hash(secret.page, block, 8) == found
            require(fits, segment.name, f"states a wrong hash of page {number}")


def check_fingerprints(keys, packs, ref, level):
    """Those of all leaves below, with the secret of the pack that the inner node is in."""
    node, level = open_node(packs, ref, level)
    for child in read_children(node) if level else ():
        if level > 1:
            check_fingerprints(keys, packs, child.ref, level - 1)
            node.require(not any(child.fingerprint), "has a fingerprint of what is no leaf")
        elif any(child.fingerprint):
            leaf, _ = open_node(packs, child.ref, 0)
            found = fingerprint(read_leaf(leaf), keys.secret(ref.pack[23], node.name))
            node.require(found == child.fingerprint, f"has a wrong fingerprint of {child.last!r}")
