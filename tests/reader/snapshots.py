"""Restore points: which there are, which of them count, and their sources.

Implements FORMAT.md §10 (snapshots, abort records) and the part of §13 that says which snapshots
are valid at the newest checkpoint.
"""

from nodes import reference
from objects import ABORT, CHECKPOINT, SNAPSHOT, open_object
from primitives import SOURCES_MAX, Damage, Refused, field, require
from store import invert, parts


class Source:
    def __init__(self, record, name):
        self.name = field(record, 0, str, name)
        self.root = reference(field(record, 3, list, name), name)
        self.entries = field(record, 4, int, name)
        self.size = field(record, 5, int, name)
        length = len(self.name.encode())
        require(1 <= length <= 255, name, "has a source name of no or too many bytes")
        fits = not self.name.startswith(".") and not set("/\0") & set(self.name)
        require(fits, name, f"has a source named {self.name!r}")


class Snapshot:
    def __init__(self, name, record):
        _, _, checkpoint, session = parts(name)
        self.name, self.id, self.checkpoint = name, session, int(checkpoint, 16)
        own = field(record, 0, bytes, name)
        require(own.hex() == session, name, "its session id is not that of its name")
        number = field(record, 6, int, name)
        require(number == self.checkpoint, name, "its checkpoint is not that of its name")
        self.job = field(record, 1, str, name)
        self.host = field(record, 2, str, name)
        self.finished = field(record, 4, int, name)
        self.partial = field(record, 8, bool, name)
        self.packs = field(record, 10, list, name)
        sources = field(record, 7, list, name)
        require(len(sources) <= SOURCES_MAX, name, "has too many sources")
        self.sources = {}
        for source in (Source(one, name) for one in sources):
            require(source.name not in self.sources, name, f"has two sources {source.name!r}")
            self.sources[source.name] = source


class Checkpoint:
    """The newest decision of a collector, or none."""

    def __init__(self, store, keys):
        self.floor, self.removed, self.catalog = 0, set(), set()
        for name in store.names("checkpoint")[:1]:
            _, record = open_object(store, keys, name, {CHECKPOINT})
            number = field(record, 0, int, name)
            require(number == invert(parts(name)[0]), name, "is under a wrong name")
            self.floor = field(record, 4, int, name)
            self.removed = {one.hex() for one in field(record, 6, list, name)}
            self.catalog = {one.hex() for one in field(record, 9, list, name)}

    def counts(self, session, checkpoint):
        """Whether the snapshot of that session is valid."""
        kept = checkpoint >= self.floor or session in self.catalog
        return kept and session not in self.removed


def valid_names(store, keys):
    """Names of commit registers that count, be there a snapshot or an abort record."""
    newest = Checkpoint(store, keys)
    for name in store.names("snapshot"):
        _, _, checkpoint, session = parts(name)
        if newest.counts(session, int(checkpoint, 16)):
            yield name


def open_snapshot(store, keys, name):
    """The snapshot, or None for an abort record."""
    kind, record = open_object(store, keys, name, {SNAPSHOT, ABORT})
    if kind == SNAPSHOT:
        return Snapshot(name, record)
    own = field(record, 0, bytes, name)
    require(own.hex() == parts(name)[3], name, "its session id is not that of its name")
    return None


def all_snapshots(store, keys):
    """Snapshots from the oldest to the newest, and the damage of those that can't be read."""
    found, damage = [], []
    for name in valid_names(store, keys):
        try:
            found.append(open_snapshot(store, keys, name))
        except Damage as error:
            damage.append(error)
    return sorted(filter(None, found), key=lambda one: (one.finished, one.name)), damage


def choose(store, keys, words):
    """The snapshot, source name and path that SNAPSHOT[:SOURCE[/PATH]] says.

    `latest:NAME` is the newest of the job NAME or, if no job is called so, the source NAME of the
    newest snapshot that has one.
    """
    first, _, rest = words.partition(":")
    if first != "latest":
        snapshot = by_prefix(store, keys, first)
        source, _, path = rest.partition("/")
        return snapshot, source, path
    snapshots, damage = all_snapshots(store, keys)
    if damage:
        raise damage[0]
    job, _, below = rest.partition(":")
    chosen = [one for one in snapshots if not rest or one.job == job]
    if not chosen:
        below = rest
        chosen = [one for one in snapshots if rest.partition("/")[0] in one.sources]
    if not chosen:
        raise Refused(f"{words}: there is no such snapshot")
    source, _, path = below.partition("/")
    return chosen[-1], source, path


def by_prefix(store, keys, prefix):
    names = [name for name in valid_names(store, keys) if parts(name)[3].startswith(prefix)]
    found = [one for one in (open_snapshot(store, keys, name) for name in names) if one]
    if len(found) != 1:
        raise Refused(f"{prefix}: {len(found)} snapshots have ids that begin so")
    return found[0]
