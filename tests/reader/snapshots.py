"""Restore points: which there are, which of them count, and their sources.

Implements FORMAT.md §10 (snapshots, abort records) and the part of §13 that says which snapshots
are valid at the newest checkpoint.
"""

from listing import said_series
from nodes import reference
from objects import ABORT, CHECKPOINT, SNAPSHOT, open_object
from primitives import SOURCES_MAX, Damage, Newer, Refused, field, require
from store import invert, parts


class Source:
    def __init__(self, record, name):
        self.name = field(record, 0, str, name)
        self.kind = field(record, 1, str, name)
        self.facts = field(record, 6, dict, name)
        self.root = reference(field(record, 3, list, name), name)
        self.entries = field(record, 4, int, name)
        self.size = field(record, 5, int, name)
        length = len(self.name.encode())
        require(1 <= length <= 255, name, "has a source name of no or too many bytes")
        fits = not self.name.startswith(".") and not set("/\0") & set(self.name)
        require(fits, name, f"has a source named {self.name!r}")


def written(record, session, name):
    """Id, length and hash of a pack that the session wrote."""
    require(isinstance(record, list) and len(record) == 3, name, "lists a pack that is none")
    pack, length, digest = record
    fits = isinstance(length, int) and isinstance(digest, bytes) and isinstance(pack, bytes)
    fits = fits and len(pack) == 24 and pack[:12].hex() == session
    require(fits, name, "lists a pack that its session can't have written")
    return pack, length, digest


class Snapshot:
    def __init__(self, name, record):
        _, sequence, checkpoint, session = parts(name)
        self.name, self.id, self.checkpoint = name, session, int(checkpoint, 16)
        self.sequence = invert(sequence)
        own = field(record, 0, bytes, name)
        require(own.hex() == session, name, "its session id is not that of its name")
        number = field(record, 6, int, name)
        require(number == self.checkpoint, name, "its checkpoint is not that of its name")
        self.job = field(record, 1, str, name)
        self.host = field(record, 2, str, name)
        self.series = self.job, self.host
        self.finished = field(record, 4, int, name)
        self.secret = field(record, 12, int, name)
        self.partial = field(record, 8, bool, name)
        self.packs = [written(one, session, name) for one in field(record, 10, list, name)]
        sources = field(record, 7, list, name)
        require(len(sources) <= SOURCES_MAX, name, "has too many sources")
        self.sources = {}
        for source in (Source(one, name) for one in sources):
            require(source.name not in self.sources, name, f"has two sources {source.name!r}")
            self.sources[source.name] = source


class Checkpoint:
    """A collector's decision, or none."""

    def __init__(self, store=None, keys=None, name=None):
        self.floor, self.removed, self.catalog, self.before = 0, set(), set(), b""
        if name is None:
            return
        _, record = open_object(store, keys, name, {CHECKPOINT})
        self.number = field(record, 0, int, name)
        require(self.number == invert(parts(name)[0]), name, "is under a wrong name")
        require(self.number > 0, name, "is before the first")
        self.before = field(record, 1, bytes, name)
        self.floor = field(record, 4, int, name)
        self.removed = {session(one, name) for one in field(record, 6, list, name)}
        self.catalog = {session(one, name) for one in field(record, 9, list, name)}

    def counts(self, name):
        """Whether the snapshot of that name is valid."""
        _, _, checkpoint, session = parts(name)
        kept = int(checkpoint, 16) >= self.floor or session in self.catalog
        return kept and session not in self.removed


def session(id, name):
    require(isinstance(id, bytes) and len(id) == 12, name, "lists a session id that is none")
    return id.hex()


def newest_checkpoint(store, keys, warn):
    """The newest that opens; where none does, that is damage."""
    names, failures = store.names("checkpoint"), []
    for name in names:
        try:
            found = Checkpoint(store, keys, name)
        except Newer:
            raise
        except Damage as error:
            failures.append(error)
            continue
        for error in failures:
            warn(f"{error}; reading goes on with an older checkpoint")
        return found
    if failures:
        raise failures[0]
    return Checkpoint()


def valid_names(store, keys, warn):
    """Names of commit registers that count, be there a snapshot or an abort record."""
    newest = newest_checkpoint(store, keys, warn)
    return [name for name in store.names("snapshot") if newest.counts(name)]


def open_snapshot(store, keys, name):
    """The snapshot, or None for an abort record."""
    kind, record = open_object(store, keys, name, {SNAPSHOT, ABORT})
    if kind == SNAPSHOT:
        return Snapshot(name, record)
    own = field(record, 0, bytes, name)
    require(own.hex() == parts(name)[3], name, "its session id is not that of its name")
    return None


def all_snapshots(store, keys, warn):
    """Snapshots from the oldest to the newest, and the damage of those that can't be read."""
    found, damage = [], []
    for name in valid_names(store, keys, warn):
        try:
            found.append(open_snapshot(store, keys, name))
        except Damage as error:
            damage.append(error)
    return sorted(filter(None, found), key=lambda one: (one.finished, one.name)), damage


def choose(store, keys, words, warn):
    """The snapshot, source name and path that SNAPSHOT[:SOURCE[/PATH]] says.

    `latest` is the one of the highest sequence in its series, of those that have the source. Where
    several series fit, none is chosen: times say nothing about what belongs together.
    """
    first, _, rest = words.partition(":")
    name, _, path = rest.partition("/")
    if first != "latest":
        return by_prefix(store, keys, first, warn), name, path
    snapshots, damage = all_snapshots(store, keys, warn)
    chosen = [one for one in snapshots if not name or name in one.sources]
    if damage and not chosen:
        raise damage[0]
    for error in damage:
        warn(f"{error}; this may have been the latest")
    if not chosen:
        raise Refused(f"{words}: there is no such snapshot")
    latest = {}
    for one in sorted(chosen, key=lambda one: (one.sequence, one.finished, one.id)):
        latest[one.series] = one
    if len(latest) > 1:
        choices = "".join(f"\n  {one.id}  {said_series(one)}" for one in latest.values())
        raise Refused(f"{words}: several series fit; take one of these by its id:{choices}")
    (only,) = latest.values()
    return only, name, path


def by_prefix(store, keys, prefix, warn):
    names = valid_names(store, keys, warn)
    names = [name for name in names if parts(name)[3].startswith(prefix)]
    found = [one for one in (open_snapshot(store, keys, name) for name in names) if one]
    if len(found) != 1:
        raise Refused(f"{prefix}: {len(found)} snapshots have ids that begin so")
    return found[0]
